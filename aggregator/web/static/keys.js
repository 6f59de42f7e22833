// The keyboard: rows, tabs, pages.
(() => {
  'use strict';
  const links = () => [...document.querySelectorAll('#rows a.open')];
  let leader = 0; // when "g" was pressed

  function move(by) {
    const all = links();
    if (all.length === 0) return false;
    const at = all.indexOf(document.activeElement);
    const next = at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + by));
    all[next].focus({ preventScroll: true });
    all[next].closest('tr').scrollIntoView({ block: 'nearest' });
    if (next === all.length - 1 && by > 0) document.querySelector('[data-next]')?.scrollIntoView({ block: 'nearest' });
    return true;
  }
  function press(selector) {
    const el = document.querySelector(selector);
    if (!el || el.hidden) return false;
    el.click();
    return true;
  }
  const keys = {
    j: () => move(1), ArrowDown: () => document.activeElement?.matches('a.open') && move(1),
    k: () => move(-1), ArrowUp: () => document.activeElement?.matches('a.open') && move(-1),
    '/': () => {
      document.getElementById('filters')?.classList.remove('folded');
      const field = document.querySelector('#filters input:not([type=hidden])');
      field?.focus();
      field?.select();
      return Boolean(field);
    },
    '?': () => press('[data-help]'),
    p: () => press('[data-live-toggle]'),
    n: () => press('[data-next]'),
    u: () => press('.crumb a'),
  };
  const pages = { o: '/', m: '/messages', t: '/trace', n: '/nodes', d: '/diagnostics', r: '/relay', k: '/keys' };

  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const field = event.target.closest?.('input, select, textarea');
    if (event.key === 'Escape') {
      if (field) field.blur();
      else if (document.activeElement?.matches('a.open')) document.activeElement.blur();
      return;
    }
    if (field || document.querySelector('dialog[open]')) return;
    if (Date.now() - leader < 1500 && pages[event.key]) {
      leader = 0;
      location.assign(pages[event.key]);
      return;
    }
    leader = event.key === 'g' ? Date.now() : 0;
    const view = document.querySelector(`.views a:nth-child(${/^[1-5]$/.test(event.key) ? event.key : 0})`);
    if (view) {
      view.click();
      event.preventDefault();
    } else if (keys[event.key]?.()) {
      event.preventDefault();
    }
  });

  // A click anywhere in a row opens it, unless text is being selected or a link was meant.
  document.addEventListener('click', (event) => {
    const row = event.target.closest('#rows tr');
    if (!row || event.target.closest('a, button') || String(getSelection()) !== '') return;
    const link = row.querySelector('a.open');
    if (event.ctrlKey || event.metaKey) open(link.href, '_blank', 'noopener');
    else link.click();
  });
})();
