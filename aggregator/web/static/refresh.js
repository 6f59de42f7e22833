// Parts of a page that ask again by themselves: not while nobody looks, text is selected or a box is ticked; what was
// opened, scrolled to or stood on stays so; and when no answer comes what is there stays and says since when it is old.
(() => {
  'use strict';
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const asks = (el) => el !== undefined && 'refresh' in (el.dataset ?? {});

  document.addEventListener('htmx:beforeRequest', (event) => {
    if (!asks(event.target)) return;
    if (document.hidden || String(getSelection()) !== '' || document.querySelector('dialog[open], main details[open] input:checked')) event.preventDefault();
  });

  // What nobody asked for keeps no session alive.
  document.addEventListener('htmx:configRequest', (event) => { if (asks(event.target)) event.detail.headers['X-By-Itself'] = 'true'; });

  // --- What a reader has done to the part.
  const sameAs = (el) => [el.tagName, el.id, el.className, el.getAttribute('href'), el.name, el.value, el.tagName === 'SUMMARY' || el.tagName === 'BUTTON' ? el.textContent : ''].join('\n');
  const nth = (el, all) => ({ like: sameAs(el), at: all.filter((o) => sameAs(o) === sameAs(el)).indexOf(el) });
  const again = (one, all) => all.filter((el) => sameAs(el) === one.like)[one.at];
  const place = (el, all) => (el.id || el.className) + all.filter((o) => o.className === el.className).indexOf(el);
  const focusable = (root) => $$('a[href], button, input, select, summary, [tabindex]', root);
  let opened = [], scrolled = [], stood = null;
  function keep() {
    const details = $$('main details');
    opened = details.filter((el) => el.open).map((el) => place(el, details));
    scrolled = $$('main .scroll').map((el) => el.scrollLeft);
    const all = focusable(document.getElementById('main'));
    stood = all.includes(document.activeElement) ? nth(document.activeElement, all) : null;
  }
  function giveBack() {
    const details = $$('main details');
    for (const el of details) if (opened.includes(place(el, details))) el.open = true;
    const regions = $$('main .scroll');
    if (regions.length === scrolled.length) regions.forEach((el, i) => { el.scrollLeft = scrolled[i]; });
    if (stood && document.activeElement === document.body) again(stood, focusable(document.getElementById('main')))?.focus({ preventScroll: true });
  }

  // --- No answer, or one that is an error: a page for that would take the place of what is there.
  const stale = document.getElementById('stale');
  const two = (n) => String(n).padStart(2, '0');
  let last = new Date(); // when what is there was true
  function old(status) {
    if (!stale.hidden && stale.dataset.status === String(status)) return;
    const link = Object.assign(document.createElement('a'), { href: '', textContent: 'Load the page again' });
    const words = status === 401 ? 'Your session has ended.' : status === 0 ? 'The aggregator does not answer.' : `The aggregator can't bring this page up to date (status ${status}).`;
    stale.querySelector('span').replaceChildren(`${words} This is as of ${two(last.getHours())}:${two(last.getMinutes())}:${two(last.getSeconds())}. `, link);
    stale.dataset.status = status;
    stale.hidden = false;
  }
  document.addEventListener('htmx:beforeSwap', (event) => {
    if (!asks(event.detail.requestConfig?.elt)) return;
    if (event.detail.xhr.status !== 200) {
      event.detail.shouldSwap = false;
      old(event.detail.xhr.status);
      return;
    }
    last = new Date();
    stale.hidden = true;
    keep();
  });
  for (const failure of ['htmx:sendError', 'htmx:timeout']) {
    document.addEventListener(failure, (event) => { if (asks(event.detail.requestConfig?.elt)) old(0); });
  }
  document.addEventListener('htmx:afterSwap', (event) => { if (asks(event.detail.requestConfig?.elt)) giveBack(); });
})();
