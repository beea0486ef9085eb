"""The page's style, and the script that reads depth under the pointer. Nothing here comes from another host."""

FONT = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
FONT_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "monospace")

CSS = """
.gradio-container { max-width: 1240px !important; margin: 0 auto !important; }
.sd-head h1 { font-size: 1.5rem; font-weight: 650; margin: 0 0 .2rem; letter-spacing: -.01em; }
.sd-head p, .sd-foot p { margin: 0; opacity: .75; font-size: .92rem; line-height: 1.45; }
.sd-foot p { font-size: .82rem; }
#sd-examples .grid-wrap { height: auto !important; min-height: 0; max-height: none; }
#sd-examples { min-height: 0 !important; height: auto !important; }
#sd-examples .grid-container { padding-top: 1.6rem; }
#sd-examples .thumbnail-item { aspect-ratio: 2 / 1; }
#sd-examples .caption-label { padding: 0 .4rem; font-size: .75rem; }
.sd-read:not(#sd-slider) img { width: 100% !important; height: auto !important; }
.sd-bar { padding: .5rem .2rem 0; font-size: .82rem; }
.sd-bar > div:first-child { height: 10px; border-radius: 5px; }
.sd-bar > div:nth-child(2) { position: relative; height: 1.3em; font-variant-numeric: tabular-nums; }
.sd-bar > div:nth-child(2):empty { height: .35em; }
.sd-bar span { position: absolute; transform: translateX(-50%); white-space: nowrap; }
.sd-bar span::before { content: ''; position: absolute; left: 50%; top: -5px; height: 5px; border-left: 1px solid currentColor; }
.sd-bar p { margin: .1rem 0 0; text-align: center; }
.sd-legend { display: flex; flex-wrap: wrap; gap: .3rem 1rem; padding: .55rem .2rem 0; font-size: .85rem; }
.sd-legend span { display: inline-flex; align-items: center; gap: .4rem; white-space: nowrap; }
.sd-legend i { width: 12px; height: 12px; border-radius: 3px; border: 1px solid rgba(128, 128, 128, .5); }
.sd-read img { cursor: crosshair; }
#sd-tip { position: fixed; z-index: 999; pointer-events: none; display: none; padding: .15rem .5rem; border-radius: 6px;
  background: rgba(20, 20, 24, .88); color: #fff; font: 500 .82rem/1.4 ui-sans-serif, system-ui, sans-serif;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
@media (max-width: 640px) {
  .gradio-container main { padding: .75rem !important; }
  #sd-result .tab-container button { padding: 0 .45rem; font-size: .8rem; }
}
"""

HEAD = """
<script>
(() => {
  const tip = Object.assign(document.createElement('div'), {id: 'sd-tip'});
  let read = {};
  const grid = () => {
    const element = document.getElementById('sd-grid');
    if (!element) return null;
    const d = element.dataset, key = [d.low, d.high, d.values.length, d.values.slice(0, 99)].join();
    if (read.key !== key) {
      const raw = atob(d.values), steps = new Uint16Array(raw.length / 2);
      for (let i = 0; i < steps.length; i++) steps[i] = raw.charCodeAt(2 * i) | raw.charCodeAt(2 * i + 1) << 8;
      read = {key, steps, rows: +d.rows, columns: +d.columns, low: +d.low, high: +d.high, unit: d.unit};
    }
    return read;
  };
  const hide = () => { tip.style.display = 'none'; };
  const show = event => {
    const host = event.target.closest && event.target.closest('.sd-read');
    const image = host && [...host.querySelectorAll('img')].find(i => i.naturalWidth > 64 && i.offsetWidth > 0);
    const g = image && grid();
    if (!g) return hide();
    const box = image.getBoundingClientRect();  // the picture sits in its middle where the shapes differ
    const scale = Math.min(box.width / image.naturalWidth, box.height / image.naturalHeight);
    const width = image.naturalWidth * scale, height = image.naturalHeight * scale;
    const x = (event.clientX - box.left - (box.width - width) / 2) / width;
    const y = (event.clientY - box.top - (box.height - height) / 2) / height;
    if (!(x >= 0 && x < 1 && y >= 0 && y < 1)) return hide();
    const step = g.steps[Math.floor(y * g.rows) * g.columns + Math.floor(x * g.columns)];
    const depth = Math.exp(g.low + step / 65535 * (g.high - g.low));
    tip.textContent = depth.toPrecision(3) + ' ' + g.unit;
    if (!tip.isConnected) document.body.append(tip);
    tip.style.display = 'block';
    tip.style.left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 6) + 'px';
    tip.style.top = Math.max(event.clientY - 34, 6) + 'px';
  };
  document.addEventListener('pointermove', show, true);
  document.addEventListener('pointerdown', show, true);
  document.addEventListener('scroll', hide, true);
})();
</script>
"""
"""In the page's head: as Gradio's own ``js`` it does not run in every version."""

TO_RESULT = """
() => { if (innerWidth < 900) document.getElementById('sd-result').scrollIntoView({behavior: 'smooth', block: 'start'}); }
"""
"""After an upload on a phone, where the result lies below."""
