const base = document.body.dataset.base || new URL(".", location).href;
const stations = {{ stations | tojson }}, pieces = {{ pieces | tojson }};
const slug = title => (title.replace(/^\d+ · /, "").toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []).join("-"); // as in step.html
const [theme, lesson, station] = ["theme", "lesson", "station"].map(id => document.getElementById(id));
const safe = text => text.replace(/&/g, "&amp;").replace(/"/g, "&quot;").replace(/</g, "&lt;"); // a title goes into an attribute
const frame = (page, title, ...choices) => {
  const query = [...choices, ...(theme.value ? [`theme=${theme.value}`] : [])].join("&");
  return `<iframe src="${base}${page}.html${query && "?"}${query}" title="${safe(title)}" width="100%" height="720" frameborder="0" loading="lazy" allow="clipboard-write; fullscreen" sandbox="allow-scripts allow-same-origin allow-popups allow-popups-to-escape-sandbox allow-downloads allow-forms"></iframe>`;
};
function write() {
  for (const code of document.querySelectorAll("code[data-name]")) code.textContent = frame(code.dataset.name, code.dataset.title, "embed=true");
  document.getElementById("only").textContent = frame(lesson.value, station.selectedOptions[0].text, "embed=true", `station=${station.value}`);
  document.getElementById("alone").textContent = frame("train", "A language model learns by reward");
}
function list() {
  const parts = Object.assign(document.createElement("optgroup"), { label: "A piece of a station" });
  parts.append(...pieces[lesson.value].map(name => new Option(name[0].toUpperCase() + name.slice(1).replaceAll("-", " "), name)));
  station.replaceChildren(...stations[lesson.value].map((title, at) => new Option(title, slug(title), false, at === 2)), parts);
  write();
}
lesson.onchange = list;
theme.onchange = station.onchange = write;
list();
document.getElementById("tall").textContent = `<script>
addEventListener("message", ({ data, source }) => {
  for (const frame of document.querySelectorAll("iframe")) if (frame.contentWindow === source) {
    if (data?.type === "grpo-lessons:height" && data.height > 0) frame.style.height = Math.min(data.height, 30000) + "px";
    if (data?.type === "grpo-lessons:top" && frame.getBoundingClientRect().top < 0) frame.scrollIntoView();
  }
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
