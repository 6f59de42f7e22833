// Times in the viewer's zone, the colour switch, the help dialog and copying.
(() => {
  'use strict';
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const two = (n) => String(n).padStart(2, '0');

  // --- Times: the server writes UTC; here they become the viewer's.
  const clock = (d) => `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
  const day = (d) => `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`;
  const exact = (d) => { // a log that writes whole seconds has no milliseconds to show
    const ms = d.getMilliseconds();
    return `${day(d)} ${clock(d)}${ms ? '.' + String(ms).padStart(3, '0') : ''}`;
  };
  const zone = (d) => {
    const minutes = -d.getTimezoneOffset();
    if (minutes === 0) return 'UTC';
    const size = Math.abs(minutes);
    return `UTC${minutes < 0 ? '−' : '+'}${Math.floor(size / 60)}${size % 60 ? ':' + two(size % 60) : ''}`;
  };
  const ago = (d, now) => {
    const s = (now - d) / 1000;
    if (s < -1) return 'ahead';
    if (s < 1) return 'now';
    if (s < 60) return `${Math.floor(s)} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min`;
    if (s < 172800) return `${Math.floor(s / 3600)} h`;
    return `${Math.floor(s / 86400)} d`;
  };
  const forms = {
    clock: (d, now) => {
      if (day(d) === day(now)) return clock(d);
      const minute = `${two(d.getHours())}:${two(d.getMinutes())}`;
      return d.getFullYear() === now.getFullYear() ? `${day(d).slice(5)} ${minute}` : day(d);
    },
    step: (d) => `${day(d)} ${two(d.getHours())}:${two(d.getMinutes())}`,
    exact: (d) => exact(d),
    ago,
  };
  function tell(times, now = new Date()) {
    for (const el of times) {
      const d = new Date(el.dateTime);
      const form = forms[el.dataset.as];
      if (!form || isNaN(d)) continue;
      let text = form(d, now);
      if (el.dataset.suffix && /\d/.test(text)) text += ' ' + el.dataset.suffix;
      if (el.textContent !== text) el.textContent = text;
      const title = `${exact(d)} ${zone(d)}, ${ago(d, now)} ago`;
      if (el.title !== title && form !== ago) el.title = title;
    }
  }
  function localize(root) {
    tell($$('time[data-as]', root));
    for (const el of $$('[data-zone]', root)) el.textContent = zone(new Date());
  }
  setInterval(() => { if (!document.hidden) tell($$('time[data-as="ago"]')); }, 5000);

  // A time typed without a zone is the viewer's: what is sent carries the zone.
  document.addEventListener('submit', (event) => {
    for (const input of $$('input[data-time]', event.target)) {
      const typed = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?))?$/.exec(input.value.trim());
      if (!typed) continue;
      const d = new Date(`${typed[1]}T${typed[2] || '00:00'}`);
      if (!isNaN(d)) input.value = d.toISOString().replace('.000Z', 'Z');
    }
  }, true);

  // --- Colours: as the system has it, light, dark.
  const root = document.documentElement;
  function showTheme() {
    for (const el of $$('[data-theme-name]')) el.textContent = root.dataset.theme || 'auto';
  }
  function nextTheme() {
    const next = { '': 'light', light: 'dark', dark: '' }[root.dataset.theme || ''];
    if (next) root.dataset.theme = next; else delete root.dataset.theme;
    try { if (next) localStorage.setItem('theme', next); else localStorage.removeItem('theme'); } catch { /* not kept */ }
    showTheme();
    document.dispatchEvent(new Event('postfleet:theme'));
  }

  // --- Clicks that pages share.
  document.addEventListener('click', (event) => {
    const at = event.target.closest('[data-theme-toggle], [data-help], [data-copy], [data-back]');
    if (!at) return;
    if ('themeToggle' in at.dataset) nextTheme();
    if ('help' in at.dataset && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      document.getElementById('help').showModal();
    }
    if (at.dataset.copy) copy(at);
    if ('back' in at.dataset && sessionStorage.getItem('list')) at.href = sessionStorage.getItem('list');
  });
  function copy(button) {
    const lines = $$('.lines tbody tr', document.getElementById(button.dataset.copy)).map((tr) => {
      const who = tr.classList.contains('says-client') ? '> ' : tr.classList.contains('says-server') ? '< ' : '  ';
      const text = tr.querySelector('.say').cloneNode(true);
      for (const cut of $$('.cut', text)) cut.textContent = '[cut]';
      return tr.cells[0].textContent.padStart(10) + '  ' + who + text.textContent;
    });
    const word = button.querySelector('span');
    navigator.clipboard.writeText(lines.join('\n') + '\n').then(() => { word.textContent = 'Copied'; }, () => { word.textContent = 'Not allowed'; });
    setTimeout(() => { word.textContent = 'Copy'; }, 2000);
  }

  // On a phone the filters make room for the list, unless one is on or wrong.
  function foldFilters(piece) {
    const form = $$('#filters', piece)[0];
    const unfold = $$('[data-filters]', piece)[0];
    if (!form || !unfold) return;
    unfold.hidden = false;
    form.classList.toggle('folded', !form.querySelector('.chips, .wrong'));
    unfold.addEventListener('click', () => form.classList.remove('folded'));
  }

  // --- Every piece of page that arrives, the first one included.
  function arrive(piece) {
    localize(piece);
    for (const el of $$('[data-theme-toggle], .copy', piece)) el.hidden = false;
    if (navigator.clipboard === undefined) for (const el of $$('.copy', piece)) el.hidden = true;
    for (const el of $$('[data-chart-table]', piece)) el.open = false;
    foldFilters(piece);
    for (const el of $$('[data-count]')) {
      const n = document.getElementById('rows').rows.length;
      el.textContent = n === 1 ? '1 message' : `${n} messages`;
    }
    if (document.getElementById('filters')) sessionStorage.setItem('list', location.pathname + location.search);
  }
  document.addEventListener('htmx:load', (event) => arrive(event.detail.elt));
  showTheme();
  arrive(document);

  // The bar of pages is wider than a phone: show where in it this page is.
  const here = $$('.nav [aria-current]')[0];
  if (here) here.parentElement.scrollLeft = here.offsetLeft - here.parentElement.offsetLeft - (here.parentElement.clientWidth - here.offsetWidth) / 2;
})();
