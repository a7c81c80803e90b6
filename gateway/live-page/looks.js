// How the components look: one sheet that all share. Colours are named by what they mean, and a page that
// embeds a component may set each of them (`--gossamer-accent`, …); what it does not set is as on
// the operations page. Dark or light is as the embedding page's `color-scheme` says, so that a component is never
// dark on a page that knows only light. Texts have a contrast of 4.5 at least on what they stand on, and
// edges of what can be pressed 3: a test asks the browser for both.

const SHEET = `
:host {
  --paper: var(--gossamer-paper, light-dark(#f5f3ee, #0f1316));
  --card: var(--gossamer-card, light-dark(#fffefb, #171c21));
  --ink: var(--gossamer-ink, light-dark(#1c2024, #e8e6e0));
  --soft: var(--gossamer-soft, light-dark(#5d6570, #9aa3ad));
  --line: var(--gossamer-line, light-dark(#e3dfd5, #2a3138));
  --accent: var(--gossamer-accent, light-dark(#0f766e, #2dd4bf));
  --accent-ink: var(--gossamer-accent-ink, light-dark(#ffffff, #06231f));
  --good: var(--gossamer-good, light-dark(#126b34, #6ee7a0));
  --good-back: var(--gossamer-good-back, light-dark(#dcf3e3, #12321f));
  --warn: var(--gossamer-warn, light-dark(#985504, #f6c667));
  --warn-back: var(--gossamer-warn-back, light-dark(#fdf0d3, #3a2c10));
  --bad: var(--gossamer-bad, light-dark(#b42318, #ff9d90));
  --bad-back: var(--gossamer-bad-back, light-dark(#fde5e1, #431a16));
  --busy: var(--gossamer-busy, light-dark(#175ea6, #7ab8f5));
  --busy-back: var(--gossamer-busy-back, light-dark(#deecfa, #14304a));
  --move: var(--gossamer-move, light-dark(#6a48d7, #b9a5ff));
  --move-back: var(--gossamer-move-back, light-dark(#ebe5fc, #2b2350));
  --idle: var(--gossamer-idle, light-dark(#e9e5db, #262d34));
  --idle-ink: var(--gossamer-idle-ink, light-dark(#4a515b, #b5bdc6));
  --edge: color-mix(in srgb, var(--soft) 70%, var(--card));
  --round: var(--gossamer-round, 14px);
  --shadow: var(--gossamer-shadow, 0 1px 2px light-dark(rgb(40 34 20 / 6%), rgb(0 0 0 / 40%)), 0 6px 20px light-dark(rgb(40 34 20 / 5%), rgb(0 0 0 / 25%)));
  --mono: var(--gossamer-mono, ui-monospace, "Cascadia Code", "DejaVu Sans Mono", monospace);
  display: block;
  container-type: inline-size;
  color: var(--ink);
  font: var(--gossamer-font, 15px/1.5 system-ui, -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif);
  font-variant-numeric: tabular-nums;
  overflow-wrap: anywhere;
  text-align: left;
  direction: ltr;
}
:host([hidden]), [hidden] { display: none !important; }
*, *::before, *::after { box-sizing: border-box; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 6px; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: var(--round); box-shadow: var(--shadow); padding: 16px 18px; }
header { display: flex; flex-wrap: wrap; gap: 6px 14px; align-items: center; margin-bottom: 12px; }
h2 { margin: 0; font-size: 17px; font-weight: 650; letter-spacing: -0.01em; }
h3 { margin: 0 0 6px; font-size: 13.5px; font-weight: 620; color: var(--soft); }
p { margin: 0; }
ul, ol, dl, dd { list-style: none; margin: 0; padding: 0; }
small, .soft { color: var(--soft); }
small { font-size: 12.5px; }
.grow { flex: 1; }
a { color: var(--accent); text-decoration: none; text-underline-offset: 3px; }
a:hover { text-decoration: underline; }
code, pre, textarea, .mono { font-family: var(--mono); font-size: 0.92em; }
button { font: inherit; font-size: 14px; font-weight: 600; padding: 5px 14px; min-height: 34px; border: 1px solid transparent; border-radius: 9px; background: var(--accent); color: var(--accent-ink); cursor: pointer; white-space: nowrap; }
button:disabled, button[aria-disabled] { background: var(--idle); color: var(--soft); cursor: default; }
button:hover:not(:disabled) { filter: brightness(1.08); }
button.plain { background: none; border-color: var(--edge); color: var(--ink); font-weight: 500; }
button.bad { background: var(--bad); color: var(--card); }
button.plain:hover:not(:disabled) { background: var(--idle); }
button.plain[aria-pressed="true"] { background: var(--idle); border-color: var(--ink); font-weight: 600; }
button.word { min-height: 0; padding: 0; border: 0; border-radius: 4px; background: none; color: var(--accent); font-weight: 500; }
button.word:hover { text-decoration: underline; filter: none; }
.run { min-height: 0; font-size: 13px; font-weight: 400; white-space: nowrap; }
select, input, textarea { font: inherit; font-size: 14px; color: var(--ink); background: var(--paper); border: 1px solid var(--edge); border-radius: 9px; padding: 5px 10px; min-height: 34px; max-width: 100%; min-width: 0; }
textarea { display: block; width: 100%; resize: vertical; line-height: 1.45; tab-size: 2; }
textarea[aria-invalid="true"], input[aria-invalid="true"] { border-color: var(--bad); }
::placeholder { color: var(--soft); opacity: 1; }
bdi { unicode-bidi: isolate; }
.filters { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; }
.link { display: inline-flex; align-items: center; gap: 7px; font-size: 13px; color: var(--soft); white-space: nowrap; }
.dot { flex: none; width: 10px; height: 10px; border-radius: 50%; border: 2px solid var(--warn); }
[data-state="connecting"] > .dot, [data-state="away"] > .dot { animation: breathe 1.4s ease-in-out infinite; }
[data-state="live"] > .dot { border-color: var(--accent); background: var(--accent); box-shadow: 0 0 0 3px color-mix(in srgb, var(--accent) 20%, transparent); }
[data-state="closed"] > .dot { border-color: var(--bad); border-radius: 2px; background: var(--bad); }
.badge { display: inline-flex; align-items: center; gap: 6px; padding: 1px 9px; border-radius: 99px; font-size: 12.5px; line-height: 1.6; font-weight: 600; white-space: nowrap; background: var(--idle); color: var(--idle-ink); }
.badge.status::before { font-weight: 700; font-size: 11px; line-height: 1; }
.badge[data-status="Completed"]::before { content: "✓" / ""; }
.badge[data-status="Failed"]::before { content: "✕" / ""; }
.badge[data-status="Cancelled"]::before { content: "–" / ""; }
.badge[data-status="Pending"]::before { content: "○" / ""; }
.badge.good { background: var(--good-back); color: var(--good); }
.badge.warn { background: var(--warn-back); color: var(--warn); }
.badge.bad { background: var(--bad-back); color: var(--bad); }
.badge.busy { background: var(--busy-back); color: var(--busy); }
.badge.move { background: var(--move-back); color: var(--move); }
.badge.busy::before { content: ""; width: 6px; height: 6px; border-radius: 50%; background: currentcolor; animation: breathe 1.4s ease-in-out infinite; }
@keyframes breathe { 50% { opacity: 0.25; } }
@keyframes appear { from { opacity: 0; transform: translateY(-5px); } }
.empty { padding: 26px 12px 20px; color: var(--soft); text-align: center; text-wrap: balance; }
.lines-2, .lines-4 { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow: hidden; }
.lines-4 { -webkit-line-clamp: 4; }
.note { padding: 9px 13px; border-radius: 10px; background: var(--idle); color: var(--idle-ink); font-size: 14px; }
.note.bad { background: var(--bad-back); color: var(--bad); }
.note.warn { background: var(--warn-back); color: var(--warn); }
@media (prefers-reduced-motion: reduce) {
  *, *::before, *::after { animation: none !important; transition: none !important; scroll-behavior: auto !important; }
}
@media (forced-colors: active) {
  .dot, .badge, .note { border: 1px solid currentcolor; forced-color-adjust: none; }
}
`;

/** The sheets of a component: what all share, and its own. A page's security policy lets these through. */
export function sheets(own) {
  const made = [SHEET, own].map((text) => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(text);
    return sheet;
  });
  return made;
}
