// Live rows of the message list. The server sends rows as HTML that it made itself from escaped text; here they find
// their place. New rows wait while the reader has paused, scrolled down or stands on a row.
(() => {
  'use strict';
  const mostRows = 1000;
  let live = null; // the running stream and what belongs to it

  function start() {
    const box = document.getElementById('live');
    if (live && live.box === box) return;
    if (live) live.source.close();
    live = null;
    if (!box || !window.EventSource) return;
    box.hidden = false;
    live = { box, paused: false, waiting: new Map(), missed: false, source: new EventSource(box.dataset.src), told: 0 };
    live.source.addEventListener('open', state);
    live.source.addEventListener('error', state);
    live.source.addEventListener('row', (event) => row(event.data));
    live.source.addEventListener('gone', (event) => gone(event.data));
    live.source.addEventListener('gap', () => { live.missed = true; box.dataset.missed = 'true'; renew(); });
    state();
  }
  function state() {
    const { box, source, paused, missed } = live;
    const words = paused ? 'paused' : missed ? 'changes missed: reload the page' : ['connecting', 'live', 'ended: reload the page'][source.readyState];
    box.classList.toggle('on', words === 'live');
    box.classList.toggle('lost', !paused && (missed || source.readyState !== 1));
    box.querySelector('[data-live-state]').textContent = words;
    const toggle = box.querySelector('[data-live-toggle]');
    toggle.setAttribute('aria-pressed', String(paused));
    toggle.querySelector('[data-live-word]').textContent = paused ? 'Go on' : 'Pause';
    toggle.querySelector('use').setAttribute('href', paused ? '#i-play' : '#i-pause');
    const fresh = box.querySelector('[data-live-new]');
    fresh.hidden = live.waiting.size === 0;
    fresh.textContent = `Show ${live.waiting.size} new`;
  }
  const busy = () => live.paused || scrollY > 160 || document.activeElement?.closest('#rows');

  // A node was away, and nobody knows which rows changed meanwhile: the page is made anew, when nobody reads it closely.
  function renew() {
    if (live.missed && !busy()) location.reload(); else state();
  }
  function row(html) {
    const holder = document.createElement('template');
    holder.innerHTML = html.trim();
    const tr = holder.content.querySelector('tr');
    if (!tr) return;
    const old = document.getElementById(tr.id);
    if (old && said(old) === said(tr)) return; // the stream begins with rows that the page may have
    if (live.paused || (!old && busy())) {
      live.waiting.set(tr.id, tr);
      state();
      return;
    }
    put(tr);
  }
  // All of a row but its time, which stands there in the viewer's zone.
  const said = (tr) => [...tr.cells].slice(1).map((cell) => cell.outerHTML).join('');

  function gone(id) {
    live.waiting.delete(id);
    if (!live.paused) document.getElementById(id)?.classList.add('gone');
    state();
  }
  function put(tr) {
    const rows = document.getElementById('rows');
    const old = document.getElementById(tr.id);
    if (old) {
      const focused = old.contains(document.activeElement);
      old.replaceWith(tr);
      if (focused) tr.querySelector('a.open').focus({ preventScroll: true });
    } else {
      const id = BigInt(tr.dataset.id);
      const below = [...rows.rows].find((other) => BigInt(other.dataset.id) < id);
      if (!below && rows.rows.length && document.querySelector('[data-next]')) return; // older than what is shown: on a later page
      rows.insertBefore(tr, below || null);
      tr.classList.add('fresh');
      document.querySelector('.tablewrap').hidden = false;
      document.getElementById('empty')?.remove();
      announce();
      if (rows.rows.length > mostRows) rows.rows[rows.rows.length - 1].remove();
    }
    window.htmx?.process(tr);
    document.dispatchEvent(new CustomEvent('htmx:load', { detail: { elt: tr } }));
  }
  function release() {
    const rows = [...live.waiting.values()];
    live.waiting.clear();
    for (const tr of rows) put(tr);
    renew();
  }
  // Screen readers hear how many came, not each one.
  function announce() {
    live.told += 1;
    if (live.told > 1) return;
    const teller = live;
    setTimeout(() => {
      document.getElementById('announce').textContent = teller.told === 1 ? '1 new message' : `${teller.told} new messages`;
      teller.told = 0;
    }, 4000);
  }
  function toggle() {
    live.paused = !live.paused;
    if (!live.paused) release();
    state();
  }
  document.addEventListener('click', (event) => {
    if (!live) return;
    if (event.target.closest('[data-live-toggle]')) toggle();
    if (event.target.closest('[data-live-new]')) {
      document.activeElement?.blur();
      scrollTo({ top: 0 });
      if (live.paused) toggle(); else release();
    }
  });
  addEventListener('scroll', () => { if (live && (live.waiting.size || live.missed) && !busy()) release(); }, { passive: true });
  addEventListener('pagehide', () => { if (live) live.source.close(); live = null; });
  addEventListener('pageshow', (event) => { if (event.persisted) start(); });
  document.addEventListener('htmx:load', start);
  start();
})();
