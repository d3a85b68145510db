// Before marimo's worker: a browser may keep storage from a frame on another site, and from a private window. marimo then
// waits for its disk for ever. Told so in words, not by an Error, it goes on, and its files stay in memory.
try {
  const open = indexedDB.constructor.prototype.open;
  indexedDB.constructor.prototype.open = function (...given) {
    try {
      const request = open.apply(this, given);
      request.addEventListener("error", () => Object.defineProperty(request, "error", { value: "no storage" }));
      return request;
    } catch { return null; }
  };
} catch { // there is none at all
  Object.defineProperty(self, "indexedDB", { value: { open: () => null } });
}
