// Elements of the page.

export const byId = (id) => document.getElementById(id);

// An element; children are elements or text, so that nothing from the server can become markup.
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === false) continue;
    if (name.startsWith("on")) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

// Only what has changed is written: a screen reader announces each writing of a status.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
