// `node thin.mjs SITE THIN.PY LATER.PY NOTEBOOK …`: runs `grpo_lessons.web.thin` in the site's own Python.
import fs from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [site, thin, later, ...notebooks] = process.argv.slice(2).map(each => resolve(each));
const read = file => fs.readFileSync(file, "utf8"), here = `${site}/pyodide/`;
const { loadPyodide } = await import(pathToFileURL(`${here}pyodide.mjs`).href);

const lock = JSON.parse(read(`${here}lessons.json`));
for (const each of Object.values(lock.packages)) each.file_name = resolve(here, each.file_name);
const python = await loadPyodide({
  indexURL: here, packageBaseUrl: here, lockFileContents: lock, convertNullToNone: true,
  env: { PYTHONNODEBUGRANGES: "1" }, // tracebacks have lines but no columns: a third of what is compiled
  stdout() {}, stderr() {},
});
const quiet = { messageCallback() {}, errorCallback() {} };
await python.loadPackage(["micropip", "msgspec", "marimo-base", "Markdown", "pymdown-extensions", "narwhals", "packaging"], quiet); // as marimo's worker
python.FS.mkdirTree("/site");
python.FS.mount(python.FS.filesystems.NODEFS, { root: site }, "/site");
python.runPython(read(thin));
python.globals.set("lessons", python.toPy(notebooks.map(read)));
python.globals.set("finder", read(later));
await python.runPythonAsync("await thin(Path('/site'), lessons, finder)");
process.exit(0); // threads of the lessons may still wait for something
