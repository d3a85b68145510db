const theme = new URL(location).searchParams.get("theme");
if (theme === "dark" || theme === "light") document.documentElement.classList.add(theme); // before anything is seen
// To the page around it, if there is one: how tall this is, so that a frame can be as tall.
if (parent !== window) addEventListener("DOMContentLoaded", () => {
  const main = document.querySelector("main");
  new ResizeObserver(() => {
    parent.postMessage({ type: "grpo-lessons:height", height: Math.ceil(main.getBoundingClientRect().height) }, "*");
  }).observe(main);
});
