// A Python beside the page's own, for what a reader has written: whatever that does, ending this worker ends it.
//
// The first message says where Pyodide lies, { index }, and is answered by { ready }. Each later one is { imports, request }:
// lines that import what the code does, and a text for `answer` of `grpo_lessons.apart`. Its answer is { answer }; before it come
// { begun }, once what is imported is there, and { printed }. { broken } says that this Python is of no further use.

const QUIET = { messageCallback() {}, errorCallback() {} };
let python, answer;

self.onmessage = async ({ data: { index, imports, request } }) => {
  try {
    if (index) {
      const { loadPyodide } = await import(`${index}pyodide.mjs`);
      const options = { convertNullToNone: true, env: { PYTHONNODEBUGRANGES: "1" }, stdout() {}, stderr() {} };
      python = await loadPyodide({ indexURL: index, lockFileURL: `${index}lessons.json`, ...options });
      const ours = ["grpo-lessons", "stdlib"].filter((name) => name in python.lockfile.packages);
      await python.loadPackage(ours, QUIET);
      answer = python.pyimport("grpo_lessons.apart").answer;
      return self.postMessage({ ready: true });
    }
    try {
      await python.loadPackagesFromImports(imports, QUIET);
    } catch {} // the code's own import will say what did not come
    const tell = (printed) => self.postMessage({ printed });
    self.postMessage({ answer: answer(request, () => self.postMessage({ begun: true }), tell) });
  } catch (error) {
    self.postMessage({ broken: String(error?.message ?? error) });
  }
};
