// When a canvas has to be drawn anew though its values are the same. It is put in front of the widgets that use it, so
// it has no imports and exports nothing.

/** Calls `draw` when a node has its first or another size, or the page another theme; returns what ends that. */
function redrawn(node, draw) {
  const size = new ResizeObserver(draw);
  size.observe(node);
  const theme = new MutationObserver(draw);
  theme.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "class", "style"] });
  return () => (size.disconnect(), theme.disconnect());
}
