// Sets the colours that were chosen before the page is painted. Loaded in the head, without defer, for that reason.
(() => {
  'use strict';
  let chosen = null;
  try { chosen = localStorage.getItem('theme'); } catch { /* storage is switched off: follow the system */ }
  if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen;
})();
