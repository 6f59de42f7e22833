// The chart of the overview. Its figures are those of the table below it, and a click goes where the table's links go.
(() => {
  'use strict';
  const series = [ // from the bottom up; column of the table, tone of the style sheet, name
    { column: 2, tone: 'good', name: 'Delivered' },
    { column: 3, tone: 'wait', name: 'In queue' },
    { column: 4, tone: 'bad', name: 'Bounced' },
    { column: 5, tone: 'refused', name: 'Rejected' },
    { column: 6, tone: 'quiet', name: 'Other' },
  ];
  let drawn = null;

  function colour(name) {
    const probe = document.createElement('i');
    probe.style.color = `var(${name})`;
    document.body.append(probe);
    const value = getComputedStyle(probe).color;
    probe.remove();
    return value;
  }
  const two = (n) => String(n).padStart(2, '0');

  function draw() {
    if (drawn) {
      drawn.watch.disconnect();
      drawn.plot.destroy();
      drawn = null;
    }
    const box = document.getElementById('volume-chart');
    const table = document.getElementById('volume');
    if (!box || !table || !window.uPlot) return;
    box.hidden = false;
    box.replaceChildren();
    const rows = [...table.tBodies[0].rows];
    const times = rows.map((tr) => Number(tr.dataset.t));
    const counts = series.map((s) => rows.map((tr) => Number(tr.cells[s.column].dataset.n)));
    const sums = rows.map(() => 0);
    const stacked = counts.map((counted) => counted.map((n, i) => (sums[i] += n)));
    const top = series.length - 1;
    const axis = { stroke: colour('--muted'), font: '11px sans-serif', grid: { stroke: colour('--soft'), width: 1 }, ticks: { stroke: colour('--soft'), width: 1, size: 4 } };
    const step = times.length > 1 ? times[1] - times[0] : 60;
    const plot = new uPlot({
      width: box.clientWidth - 16, height: 230, legend: { show: false }, padding: [8, 6, 0, 0],
      cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
      scales: { x: { range: () => [times[0] - step / 2, times[times.length - 1] + step / 2] }, y: { range: (u, low, high) => [0, Math.max(4, high * 1.08)] } },
      axes: [
        { ...axis, size: 28, space: 70, grid: { show: false }, values: (u, splits, index, space, incr) => splits.map((t) => label(t, incr)) },
        { ...axis, size: 46, space: 34, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6] },
      ],
      series: [{}, ...[...series].reverse().map((s) => ({
        label: s.name, fill: colour('--mark-' + s.tone), stroke: colour('--panel'), width: 0, points: { show: false },
        paths: uPlot.paths.bars({ size: [0.82, 60], align: 0 }),
      }))],
      hooks: { setCursor: [tip] },
    }, [times, ...series.map((s, i) => stacked[top - i])], box);
    const bubble = document.createElement('div');
    bubble.className = 'tip';
    bubble.hidden = true;
    box.append(bubble);
    plot.over.addEventListener('mouseleave', () => { bubble.hidden = true; });
    plot.over.addEventListener('click', open);
    const watch = new ResizeObserver(() => plot.setSize({ width: box.clientWidth - 16, height: 230 }));
    watch.observe(box);
    drawn = { plot, watch };

    function label(t, incr) {
      const d = new Date(t * 1000);
      if (incr >= 86400 || (d.getHours() === 0 && d.getMinutes() === 0)) return `${two(d.getMonth() + 1)}-${two(d.getDate())}`;
      return `${two(d.getHours())}:${two(d.getMinutes())}`;
    }
    function tip(u) {
      const i = u.cursor.idx;
      if (!bubble || i == null) return;
      bubble.hidden = false;
      const head = document.createElement('b');
      head.textContent = rows[i].cells[0].textContent.trim();
      const list = document.createElement('ul');
      for (let s = top; s >= 0; s--) {
        if (counts[s][i] === 0) continue;
        const li = document.createElement('li');
        li.className = series[s].tone;
        const n = document.createElement('b');
        n.textContent = counts[s][i];
        li.append(document.createElement('i'), series[s].name, n);
        list.append(li);
      }
      bubble.replaceChildren(head, list);
      const left = u.cursor.left + u.over.offsetLeft;
      const flip = left > box.clientWidth - 200;
      bubble.style.transform = `translate(${Math.round(flip ? left - bubble.offsetWidth - 4 : left + 28)}px, 12px)`;
    }
    function open(event) {
      const over = plot.over.getBoundingClientRect();
      const idx = plot.posToIdx(event.clientX - over.left);
      const y = plot.posToVal(event.clientY - over.top, 'y');
      const hit = stacked.findIndex((sum, s) => counts[s][idx] > 0 && y <= sum[idx]);
      const cell = rows[idx].cells[hit < 0 ? 0 : series[hit].column];
      (cell.querySelector('a') || rows[idx].querySelector('a')).click();
    }
  }
  document.addEventListener('htmx:load', (event) => {
    if (event.detail.elt.querySelector?.('#volume-chart')) draw();
  });
  document.addEventListener('postfleet:theme', draw);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
  draw();
})();
