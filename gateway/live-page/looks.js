// How the components look: one sheet that all share. Colours are named by what they mean, and a page that
// embeds a component may set each of them (`--gossamer-accent`, …); what it does not set is as on
// the operations page, in dark and light.

const SHEET = `
:host {
  --paper: var(--gossamer-paper, #f5f3ee);
  --card: var(--gossamer-card, #fffefb);
  --ink: var(--gossamer-ink, #1c2024);
  --soft: var(--gossamer-soft, #5d6570);
  --line: var(--gossamer-line, #e3dfd5);
  --accent: var(--gossamer-accent, #0f766e);
  --accent-ink: var(--gossamer-accent-ink, #ffffff);
  --good: var(--gossamer-good, #15803d);
  --good-back: var(--gossamer-good-back, #dcf3e3);
  --warn: var(--gossamer-warn, #a15c07);
  --warn-back: var(--gossamer-warn-back, #fdf0d3);
  --bad: var(--gossamer-bad, #b42318);
  --bad-back: var(--gossamer-bad-back, #fde5e1);
  --busy: var(--gossamer-busy, #1d6fbf);
  --busy-back: var(--gossamer-busy-back, #deecfa);
  --move: var(--gossamer-move, #6a48d7);
  --move-back: var(--gossamer-move-back, #ebe5fc);
  --idle: var(--gossamer-idle, #e9e5db);
  --idle-ink: var(--gossamer-idle-ink, #4a515b);
  --round: var(--gossamer-round, 14px);
  --shadow: var(--gossamer-shadow, 0 1px 2px rgb(40 34 20 / 6%), 0 6px 20px rgb(40 34 20 / 5%));
  --mono: var(--gossamer-mono, ui-monospace, "Cascadia Code", "DejaVu Sans Mono", monospace);
  display: block;
  container-type: inline-size;
  color: var(--ink);
  font: var(--gossamer-font, 15px/1.5 system-ui, -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif);
  font-variant-numeric: tabular-nums;
  overflow-wrap: anywhere;
  text-align: left;
}
@media (prefers-color-scheme: dark) {
  :host {
    --paper: var(--gossamer-paper, #0f1316);
    --card: var(--gossamer-card, #171c21);
    --ink: var(--gossamer-ink, #e8e6e0);
    --soft: var(--gossamer-soft, #9aa3ad);
    --line: var(--gossamer-line, #2a3138);
    --accent: var(--gossamer-accent, #2dd4bf);
    --accent-ink: var(--gossamer-accent-ink, #06231f);
    --good: var(--gossamer-good, #6ee7a0);
    --good-back: var(--gossamer-good-back, #12321f);
    --warn: var(--gossamer-warn, #f6c667);
    --warn-back: var(--gossamer-warn-back, #3a2c10);
    --bad: var(--gossamer-bad, #ff9d90);
    --bad-back: var(--gossamer-bad-back, #431a16);
    --busy: var(--gossamer-busy, #7ab8f5);
    --busy-back: var(--gossamer-busy-back, #14304a);
    --move: var(--gossamer-move, #b9a5ff);
    --move-back: var(--gossamer-move-back, #2b2350);
    --idle: var(--gossamer-idle, #262d34);
    --idle-ink: var(--gossamer-idle-ink, #b5bdc6);
    --shadow: var(--gossamer-shadow, 0 1px 2px rgb(0 0 0 / 40%), 0 8px 24px rgb(0 0 0 / 25%));
  }
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
button:disabled { background: var(--idle); color: var(--soft); cursor: default; }
button.plain { background: none; border-color: var(--line); color: var(--ink); font-weight: 500; }
button.plain:hover:not(:disabled) { background: var(--idle); }
button.plain[aria-pressed="true"] { background: var(--idle); border-color: var(--soft); }
select, input, textarea { font: inherit; font-size: 14px; color: inherit; background: var(--paper); border: 1px solid var(--line); border-radius: 9px; padding: 5px 10px; min-height: 34px; max-width: 100%; min-width: 0; }
textarea { display: block; width: 100%; resize: vertical; line-height: 1.45; tab-size: 2; }
textarea[aria-invalid="true"], input[aria-invalid="true"] { border-color: var(--bad); }
::placeholder { color: var(--soft); opacity: 0.8; }
.filters { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; }
.link { display: inline-flex; align-items: center; gap: 7px; font-size: 13px; color: var(--soft); white-space: nowrap; }
.dot { flex: none; width: 9px; height: 9px; border-radius: 50%; background: var(--warn); }
[data-state="live"] > .dot { background: var(--accent); box-shadow: 0 0 0 4px color-mix(in srgb, var(--accent) 20%, transparent); }
[data-state="closed"] > .dot { background: var(--bad); }
.badge { display: inline-flex; align-items: center; gap: 6px; padding: 1px 9px; border-radius: 99px; font-size: 12.5px; line-height: 1.6; font-weight: 600; white-space: nowrap; background: var(--idle); color: var(--idle-ink); }
.badge.good { background: var(--good-back); color: var(--good); }
.badge.warn { background: var(--warn-back); color: var(--warn); }
.badge.bad { background: var(--bad-back); color: var(--bad); }
.badge.busy { background: var(--busy-back); color: var(--busy); }
.badge.move { background: var(--move-back); color: var(--move); }
.badge.busy::before { content: ""; width: 6px; height: 6px; border-radius: 50%; background: currentcolor; animation: breathe 1.4s ease-in-out infinite; }
@keyframes breathe { 50% { opacity: 0.25; } }
@keyframes appear { from { opacity: 0; transform: translateY(-5px); } }
.empty { padding: 18px 0 10px; color: var(--soft); text-align: center; }
.note { padding: 9px 13px; border-radius: 10px; background: var(--idle); color: var(--idle-ink); font-size: 14px; }
.note.bad { background: var(--bad-back); color: var(--bad); }
.note.warn { background: var(--warn-back); color: var(--warn); }
@media (prefers-reduced-motion: reduce) {
  *, *::before, *::after { animation: none !important; transition: none !important; scroll-behavior: auto !important; }
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
