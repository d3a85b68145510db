const base = document.body.dataset.base || new URL(".", location).href;
for (const code of document.querySelectorAll("code[data-name]")) {
  const { name, title } = code.dataset;
  code.textContent = `<iframe src="${base}${name}.html?embed=true" title="${title}" width="100%" height="720" frameborder="0" loading="lazy" allow="clipboard-write; fullscreen" sandbox="allow-scripts allow-same-origin allow-popups allow-popups-to-escape-sandbox allow-downloads allow-forms"></iframe>`;
}
document.getElementById("alone").textContent = `<iframe src="${base}train.html" title="A language model learns by reward" width="100%" height="720" frameborder="0" loading="lazy" sandbox="allow-scripts allow-same-origin allow-popups allow-popups-to-escape-sandbox"></iframe>`;
document.getElementById("tall").textContent = `<script>
addEventListener("message", ({ data, source }) => {
  if (data?.type !== "grpo-lessons:height" || !(data.height > 0)) return;
  for (const frame of document.querySelectorAll("iframe"))
    if (frame.contentWindow === source) frame.style.height = Math.min(data.height, 30000) + "px";
});
<\/script>`;
for (const code of document.querySelectorAll(".line code")) {
  code.nextElementSibling.addEventListener("click", async (press) => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      press.target.textContent = "Copied";
    } catch { // a page without https may not write to the clipboard
      getSelection().selectAllChildren(code);
      press.target.textContent = "Selected";
    }
    setTimeout(() => { press.target.textContent = "Copy"; }, 1500);
  });
}
