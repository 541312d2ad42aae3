// The parts of a report that are the same in every page: the style sheet, and the script that shows the numbers at the
// pointer.
#pragma once

namespace hr {

inline constexpr const char* kPageStyle = R"css(
:root { --paper:#fff; --page:#f5f6f8; --ink:#26282e; --faint:#5f6470; --grid:#e4e6eb; --axis:#969aa3; --link:#1f77b4;
  --series-1:#1f77b4; --series-2:#d65a14; --series-3:#2c8c3c; --series-4:#be283c; --series-5:#785ab4;
  --series-6:#6e6e6e;
  --good:#4f9a5b; --jitter:#d9a520; --inversion:#4f83cc; --swap:#9557b5; --miss:#c8483f; }
@media (prefers-color-scheme: dark) { :root { --paper:#1b1d22; --page:#121317; --ink:#e6e8ec; --faint:#a0a5b1;
  --grid:#2f323a; --axis:#6b7080; --link:#7ab8ea; --series-1:#5aa9e6; --series-2:#f08c4a; --series-3:#5fc072;
  --series-4:#ee6677; --series-5:#a98be0; --series-6:#b0b0b0;
  --good:#3f8a4e; --jitter:#b98a14; --inversion:#3f72ba; --swap:#8449a6; --miss:#b8403a; } }
* { box-sizing:border-box; }
body { margin:0; background:var(--page); color:var(--ink);
  font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif; }
main { max-width:1180px; margin:0 auto; padding:20px 16px 48px; }
h1 { font-size:26px; line-height:1.2; margin:8px 0 2px; overflow-wrap:anywhere; }
h2 { font-size:18px; margin:0 0 10px; }
h3 { font-size:15px; margin:18px 0 6px; }
p { margin:6px 0; }
.faint, figcaption, th, caption { color:var(--faint); }
section { background:var(--paper); border:1px solid var(--grid); border-radius:10px; padding:16px 18px; margin:14px 0; }
.cards { display:flex; flex-wrap:wrap; gap:10px; margin:14px 0; }
.cards div { background:var(--paper); border:1px solid var(--grid); border-radius:10px; padding:10px 16px; flex:1 1
  130px; }
.cards b { display:block; font-size:22px; font-weight:600; font-variant-numeric:tabular-nums; }
.curves { display:grid; grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr)); gap:8px 20px; }
svg { display:block; width:100%; height:auto; overflow:visible; }
.scroll { overflow-x:auto; }
table { border-collapse:collapse; font-variant-numeric:tabular-nums; }
th, td { text-align:left; padding:4px 18px 4px 0; border-bottom:1px solid var(--grid); vertical-align:top; }
th { font-weight:500; }
td.n:first-child, th.n:first-child { text-align:left; }
td.n, th.n { text-align:right; }
table.pairs { width:100%; }
table.pairs th { width:11em; }
table.pairs td { overflow-wrap:anywhere; }
tr.own td { font-weight:600; }
ul { margin:6px 0; padding-left:20px; }
.bars { display:grid; grid-template-columns:max-content 1fr max-content; gap:4px 10px; align-items:center;
  font-size:14px; }
.bar { display:flex; height:18px; border-radius:4px; overflow:hidden; background:var(--grid); }
.bar span { color:#fff; font-size:11px; line-height:18px; text-align:center; overflow:hidden; }
.n { font-variant-numeric:tabular-nums; text-align:right; }
.legend { display:flex; flex-wrap:wrap; gap:4px 16px; font-size:14px; margin:6px 0 10px; }
.legend i { display:inline-block; width:12px; height:12px; border-radius:3px; margin-right:6px; }
.two { display:grid; grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr)); gap:10px 32px; }
.pair { display:grid; align-items:start; grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));
  gap:14px; margin:14px 0; }
.pair section { margin:0; }
.pictures { display:grid; align-items:start; grid-template-columns:repeat(auto-fill,minmax(min(100%,340px),1fr));
  gap:14px; }
figure { margin:0; }
figure img { display:block; width:100%; height:auto; border-radius:6px; }
figcaption { font-size:13px; overflow-wrap:anywhere; }
pre, code { font:13px/1.5 ui-monospace,Consolas,monospace; }
pre { white-space:pre-wrap; overflow-wrap:anywhere; background:var(--page); border-radius:6px; padding:10px 12px;
  margin:6px 0; }
summary { cursor:pointer; color:var(--link); margin-top:10px; }
#tip { position:fixed; display:none; pointer-events:none; white-space:pre-line; background:var(--ink);
  color:var(--paper);
  font-size:13px; line-height:1.4; border-radius:6px; padding:6px 10px; z-index:9; }
.hit:hover { fill:var(--axis) !important; fill-opacity:.16; }
@media (max-width:520px) { main { padding:12px 10px 32px; } section { padding:12px 12px; } h1 { font-size:22px; }
  table.pairs th, table.pairs td { display:block; width:auto; padding-right:0; } table.pairs th { border:0;
  padding-bottom:0; } }
@media print { :root { --paper:#fff; --page:#fff; --ink:#000; --faint:#444; --grid:#ccc; } body { font-size:11pt; }
  main { max-width:none; padding:0; } section { border:0; padding:0; break-inside:auto; }
  figure, .curves svg, tr, .bars > * { break-inside:avoid; } .bar, .bar span, .legend i { print-color-adjust:exact;
  -webkit-print-color-adjust:exact; } h2 { break-after:avoid; } .pictures { grid-template-columns:1fr 1fr; } }
)css";

// Shows the text of an area's <title> element immediately, beside the pointer or the finger. Browsers show it as a
// tooltip too, but only after a delay, so the script removes the <title> elements.
inline constexpr const char* kPageScript = R"js(
(function () {
  var tip = document.getElementById("tip");
  function show(event) {
    tip.textContent = this.told;
    tip.style.display = "block";
    var w = tip.offsetWidth, h = tip.offsetHeight;
    var x = event.clientX + 14, y = event.clientY - h - 10;
    if (x + w + 4 > document.documentElement.clientWidth) x = event.clientX - w - 14;
    tip.style.left = Math.max(4, x) + "px";
    tip.style.top = Math.max(4, y) + "px";
  }
  function hide() { tip.style.display = "none"; }
  document.querySelectorAll(".hit").forEach(function (area) {
    var title = area.querySelector("title");
    area.told = title.textContent;
    title.remove();
    area.addEventListener("pointermove", show);
    area.addEventListener("pointerdown", show);
    area.addEventListener("pointerleave", hide);
  });
  window.addEventListener("scroll", hide);
})();
)js";

}  // namespace hr
