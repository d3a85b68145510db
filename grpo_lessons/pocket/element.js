/** A new element at the end of another one, with its words and class. */
export function element(name, parent, words = "", kind = "") {
  const made = document.createElement(name);
  made.textContent = words;
  if (kind) made.className = kind;
  parent.append(made);
  return made;
}
