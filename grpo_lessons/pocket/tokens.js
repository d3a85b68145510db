// Tokens coloured by what an update did to them, and the chances of what may come next at the one that is pointed at.

import { element } from "./element.js";

// How many times as likely as before, or as before after: from where on a token counts as moved, more, and much.
const STEPS = [1.01, 1.05, 1.2], WORDS = ["by 1 % and more", "by 5 % and more", "by a fifth and more"];

export const TOKENS_STYLE = `.pushed{--line:rgba(128,134,145,.35);font-size:.92rem;line-height:1.45;color:inherit}.pushed *{box-sizing:border-box}
.pushed ol{list-style:none;margin:.4rem 0;padding:0;display:grid;gap:.4rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,19rem),1fr))}
.pushed li{border:1px solid var(--line);border-radius:.5rem;padding:.4rem .6rem;display:flex;flex-direction:column;gap:.35rem}
.pushed .text{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.82rem;line-height:1.75;white-space:pre-wrap;
overflow-wrap:anywhere;flex:1}.pushed .text span,.pushed .swatch{border-radius:2px;padding:.1em 0;border-block:2px solid transparent}
.pushed .text span{cursor:default}.pushed .text .end{font-size:.72rem;padding-inline:.25em;opacity:.85}
.pushed [data-step^="+"]{--to:var(--gl-more,#1259a8)}.pushed [data-step^="-"]{--to:var(--gl-less,#a34b00)}
.pushed [data-step$="1"]{--share:13%}.pushed [data-step$="2"]{--share:30%}.pushed [data-step$="3"]{--share:50%}
.pushed span[data-step]{background:color-mix(in srgb,var(--to) var(--share),transparent)}
.pushed span[data-step^="+"]{border-block-start-color:var(--to)}.pushed span[data-step^="-"]{border-block-end-color:var(--to)}
.pushed .text span:is(:hover,:focus-visible,.at){outline:2px solid currentColor;outline-offset:0}
.pushed .facts{display:flex;flex-wrap:wrap;gap:.1rem .8rem;font-variant-numeric:tabular-nums}.pushed .name{opacity:.85;font-size:.8rem}
.pushed .legend{display:flex;flex-wrap:wrap;gap:.2rem .9rem;font-size:.8rem}.pushed .swatch{display:inline-block;width:1.6em;margin-right:.35em}
.pushed .swatch::before{content:"\\a0"}.pushed .chances{display:grid;grid-template-columns:max-content minmax(3rem,22rem) max-content;
gap:.15rem .8rem;align-items:center;font-variant-numeric:tabular-nums}.pushed .chances .text{line-height:1.3}
.pushed .panel{min-height:13.5rem}.pushed .two{display:grid;gap:2px}.pushed .two i{display:block;height:.38rem;border-radius:2px;min-width:1px}
.pushed .two .was{background:var(--gl-dead,#5f6570)}.pushed .two .is{background:var(--gl-policy,#1f68aa)}
.pushed button{font:inherit;color:inherit;background:rgba(128,134,145,.10);border:1px solid var(--line);border-radius:.5rem;
padding:.35rem .75rem;cursor:pointer}.pushed button:hover:enabled{border-color:currentColor}.pushed button:disabled{opacity:.6;cursor:default}
.pushed button:focus-visible{outline:2px solid currentColor;outline-offset:1px}.pushed .row{display:flex;flex-wrap:wrap;gap:.5rem;align-items:center}
.pushed p{margin:.35rem 0}`;

/** Where on the scale, from -3 to 3, a token stands that was as likely as the one and is as likely as the other number. */
export function step(was, is) {
  const times = Math.max(is / was, was / is), size = STEPS.filter((each) => times >= each).length;
  return is < was ? -size : size;
}

const signed = (size) => (size ? `${size > 0 ? "+" : "-"}${Math.abs(size)}` : "");

/** A chance as a reader wants it. */
export function percent(chance) {
  const digits = chance < 0.001 ? 3 : chance < 0.1 || chance > 0.995 ? (chance > 0.9995 ? 0 : 1) : 0;
  return `${(100 * chance).toFixed(digits)} %`;
}

/** A token's text where it stands alone: the one that ends a reply has none. */
export const named = (text) => (text === "" ? "the end" : text.replaceAll("\n", "↵").replaceAll(" ", "␣"));

/** What became of a token, in words. */
export function told([text, was, is]) {
  const size = step(was, is), way = size > 0 ? "more" : "less";
  const moved = size ? `${way} likely, ${WORDS[Math.abs(size) - 1]}` : "it stays";
  return `${text.trim() || named(text)}: ${percent(was)}, then ${percent(is)}, ${moved}`;
}

/** How many times as likely a reply is after the update, of its tokens. */
export const times = (reply) => Math.exp(reply.reduce((sum, [[, was, is]]) => sum + Math.log(is / was), 0)).toFixed(2);

/** An advantage with an arrow and its sign. */
export function signedNumber(number) {
  if (Math.abs(number) < 1e-3) return "· 0.00";
  return `${number > 0 ? "↑ +" : "↓ −"}${Math.abs(number).toFixed(2)}`;
}

/** The scale, in words, which is the same for every update. */
export function legend(parent) {
  const all = element("div", parent, "", "legend");
  for (const [way, words] of [[1, "more likely"], [-1, "less likely"]]) {
    WORDS.forEach((size, i) => {
      const item = element("span", all);
      element("span", item, "", "swatch").dataset.step = signed(way * (i + 1));
      item.append(`${i ? "" : `${words}, `}${size}`);
    });
  }
  element("span", all, "no colour: it stays");
  return all;
}

/** The tokens of a reply, each to be pointed at, or come to with the arrow keys; `point` is told which, and of the bars. */
export function tokenList(parent, tokens, label, point) {
  const list = element("div", parent, "", "text");
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", label);
  list.setAttribute("aria-orientation", "horizontal");
  const spans = tokens.map((token, i) => {
    const [text, was, is] = token[0];
    const span = element("span", list, text === "" ? "end" : text.replaceAll("\n", "↵\n"), text === "" ? "end" : "");
    span.setAttribute("role", "option");
    span.setAttribute("aria-label", told(token[0]));
    span.setAttribute("aria-selected", "false");
    span.tabIndex = i ? -1 : 0;
    if (step(was, is)) span.dataset.step = signed(step(was, is));
    const here = () => point(span, token, tokens.slice(0, i).map(([[before]]) => before).join(""));
    span.addEventListener("pointerenter", here);
    span.addEventListener("click", here);
    span.addEventListener("focus", here);
    return span;
  });
  list.addEventListener("keydown", (event) => {
    const at = spans.indexOf(event.target), to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: spans.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    event.stopPropagation(); // else the arrow keys go on to the next station
    if (!spans[to]) return;
    spans[at].tabIndex = -1;
    spans[to].tabIndex = 0;
    spans[to].focus();
  });
  return spans;
}

/** The chances of what may stand in a token's place, before and after the update, as bars and in words. */
export function chances(panel, [own, ...likeliest], before) {
  const shown = likeliest.some(([text]) => text === own[0]) ? likeliest : [own, ...likeliest.slice(0, 4)];
  const others = [1, 2].map((i) => Math.max(0, 1 - shown.reduce((sum, each) => sum + each[i], 0)));
  panel.replaceChildren();
  const so = element("p", panel, "", "name");
  so.append("What may come next after ");
  element("span", so, `…${before.slice(-24).replaceAll("\n", "↵")}`, "text");
  so.append(": its chance before the update (grey), and after it (blue).");
  const rows = element("div", panel, "", "chances");
  for (const [text, was, is] of [...shown, [null, ...others]]) {
    const name = element("span", rows, text === null ? "all others" : named(text), text === null ? "name" : "text");
    if (text === own[0]) name.style.fontWeight = 700;
    const bars = element("span", rows, "", "two");
    bars.setAttribute("aria-hidden", "true");
    for (const [kind, chance] of [["was", was], ["is", is]]) element("i", bars, "", kind).style.width = `${100 * chance}%`;
    element("span", rows, `${percent(was)} → ${percent(is)}`);
  }
}

/** A group's replies, token by token, and under them the chances at the one that is pointed at: a function that shows one.
 *
 * It is given what the engine's `learn` says, or the same of a record, and perhaps `facts` of each reply: [name, words], ….
 */
export function group(root) {
  const list = element("ol", root);
  legend(root);
  const panel = element("div", root, "", "panel");
  panel.id = `chances-${Math.random().toString(36).slice(2)}`;
  let at = null;

  function point(span, token, before) {
    at?.classList.remove("at");
    at?.setAttribute("aria-selected", "false");
    at = span;
    at.classList.add("at");
    at.setAttribute("aria-selected", "true");
    at.setAttribute("aria-describedby", panel.id);
    chances(panel, token, before);
  }

  return ({ tokens, advantages, facts = [] }) => {
    list.replaceChildren();
    let most = null;
    tokens.forEach((reply, i) => {
      const item = element("li", list), way = Math.abs(advantages[i]) < 1e-3 ? "nowhere" : advantages[i] > 0 ? "up" : "down";
      const spans = tokenList(item, reply, `tokens of reply ${i + 1}, pushed ${way}`, point), below = element("div", item, "", "facts");
      for (const [name, words] of [...(facts[i] ?? []), ["advantage", signedNumber(advantages[i])]]) {
        element("b", element("span", below, `${name} `, "name"), words);
      }
      element("span", below, `the whole reply: × ${times(reply)} as likely`, "name");
      reply.forEach(([[, was, is]], t) => {
        const size = Math.abs(Math.log(is / was));
        if (!most || size > most.size) most = { size, span: spans[t], token: reply[t], before: reply.slice(0, t).map(([[text]]) => text).join("") };
      });
    });
    if (most) point(most.span, most.token, most.before);
  };
}
