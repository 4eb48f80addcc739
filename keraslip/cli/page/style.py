"""The page's style sheet: readable on a phone, light and dark."""

CSS = """
:root {
  color-scheme: light dark;
  --paper: #ffffff; --panel: #f6f7f9; --ink: #1a1a1a; --muted: #5f6368; --grid: #e3e5e8;
  --accent: #0072b2; --warn: #8a5a00;
  --run-0: #0072b2; --run-1: #d55e00; --run-2: #00805d; --run-3: #aa3377; --run-4: #3a9bd1;
  --run-5: #e69f00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15181c; --panel: #1e2227; --ink: #e8eaed; --muted: #a5abb3; --grid: #353b42;
    --accent: #6db8ee; --warn: #e8b04b;
    --run-0: #58aef0; --run-1: #ff8a4c; --run-2: #3ec79d; --run-3: #e07db4; --run-4: #9ad4f5;
    --run-5: #f3c14b;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 74rem; padding: 1.25rem clamp(0.9rem, 3vw, 2rem) 3rem;
  background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif;
}
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 0.25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.25rem 0 0.5rem; }
p, li, dd { max-width: 46rem; }
p { margin: 0.4rem 0; }
.about, small, .missing, figcaption { color: var(--muted); }
.about, figcaption { font-size: 0.9rem; }
code { font-family: ui-monospace, monospace; font-size: 0.92em; overflow-wrap: anywhere; }
.note {
  border-left: 4px solid var(--warn); background: var(--panel); padding: 0.5rem 0.9rem;
  margin: 0.9rem 0; border-radius: 0 6px 6px 0;
}
.scroll { overflow-x: auto; margin: 0.6rem 0; }
table { border-collapse: collapse; font-size: 0.93rem; font-variant-numeric: tabular-nums; }
th, td {
  padding: 0.4rem 0.6rem; border-bottom: 1px solid var(--grid); text-align: left;
  vertical-align: middle; white-space: nowrap;
}
thead th { color: var(--muted); font-weight: 600; }
.wrap { display: inline-block; white-space: normal; min-width: 8rem; max-width: 9rem; }
.right { text-align: right; }
tbody th { font-weight: 600; position: sticky; left: 0; background: var(--paper); }
@media (max-width: 40rem) { .run { max-width: 9.5rem; min-width: 0; } .run svg { margin-right: 0.3rem; } }
.run { display: flex; align-items: center; min-width: 12rem; max-width: 17rem; }
.run { white-space: normal; overflow-wrap: anywhere; }
.run svg, .legend svg { flex: none; width: 2.6rem; height: 0.9rem; margin-right: 0.5rem; }
.legend {
  display: flex; flex-wrap: wrap; gap: 0.25rem 1.5rem; padding: 0; margin: 0.5rem 0;
  list-style: none;
}
.legend li { display: flex; align-items: center; overflow-wrap: anywhere; }
.figures {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)); gap: 1rem;
}
figure { margin: 0; background: var(--panel); border-radius: 8px; padding: 0.6rem; min-width: 0; }
figure > svg { display: block; width: 100%; height: auto; max-height: 28rem; }
figure img { display: block; max-width: 100%; height: auto; border-radius: 4px; background: #ffffff; }
.wide { max-width: 48rem; }
figure { --paper: var(--panel); }
dl { display: flex; flex-wrap: wrap; gap: 0.2rem 1.5rem; margin: 0.5rem 0; font-size: 0.93rem; }
dt { color: var(--muted); }
dl > div { display: flex; gap: 0.45rem; }
dd { margin: 0; font-variant-numeric: tabular-nums; }
summary { cursor: pointer; font-weight: 600; margin: 0.4rem 0; word-break: break-all; }
@media print { body { max-width: none; } .scroll { overflow: visible; } }
"""
