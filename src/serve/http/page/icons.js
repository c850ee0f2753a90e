// Line drawings on a grid of 24, drawn for this page.

const SHAPES = {
  search: "M10.5 4a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13ZM15.3 15.3 20 20",
  close: "M6 6l12 12M18 6 6 18",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  picture: "M4 6.5A1.5 1.5 0 0 1 5.5 5h13A1.5 1.5 0 0 1 20 6.5v11a1.5 1.5 0 0 1-1.5 1.5h-13A1.5 1.5 0 0 1 4 17.5zM4 16l4.5-4.5 4 4 2.5-2.5 5 4.5M15 9.5h.01",
  add: "M12 15V5M8 8.5 12 4.5l4 4M4.5 15v3A1.5 1.5 0 0 0 6 19.5h12a1.5 1.5 0 0 0 1.5-1.5v-3",
  stack: "M8 8h11.5v11.5H8zM4.5 16V4.5H16",
  collection: "M4.5 7.5h15M4.5 12h15M4.5 16.5h15",
  down: "M6.5 9.5 12 15l5.5-5.5",
  left: "M14.5 5.5 8 12l6.5 6.5",
  right: "M9.5 5.5 16 12l-6.5 6.5",
  sun: "M12 8a4 4 0 1 1 0 8 4 4 0 0 1 0-8ZM12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4",
  moon: "M19.5 14.2A7.8 7.8 0 0 1 9.8 4.5a7.8 7.8 0 1 0 9.7 9.7Z",
  auto: "M12 3.5a8.5 8.5 0 1 1 0 17 8.5 8.5 0 0 1 0-17ZM12 3.5v17M12 8l6.5-2.5M12 12h8.5M12 16l6.5 2.5",
  closer: "M3 12s3.3-6 9-6 9 6 9 6-3.3 6-9 6-9-6-9-6ZM12 9.2a2.8 2.8 0 1 1 0 5.6 2.8 2.8 0 0 1 0-5.6Z",
  tune: "M4.5 8h8M16.5 8h3M4.5 16h3M11.5 16h8M14.5 6a2 2 0 1 1 0 4 2 2 0 0 1 0-4ZM9.5 14a2 2 0 1 1 0 4 2 2 0 0 1 0-4Z",
  trash: "M5 7h14M9.5 7V4.5h5V7M7 7l.8 12.5h8.4L17 7M10.5 10.5v5.5M13.5 10.5v5.5",
  open: "M13.5 4.5h6v6M19.5 4.5 11 13M17 13.5v5A1.5 1.5 0 0 1 15.5 20h-10A1.5 1.5 0 0 1 4 18.5v-10A1.5 1.5 0 0 1 5.5 7h5",
  copy: "M9 9h10.5v10.5H9zM5.5 15H4.5V4.5H15v1",
  ask: "M4.5 5.5h15v10.5h-8l-4 3.5V16h-3zM9 10.8h.01M12 10.8h.01M15 10.8h.01",
  check: "M5 12.5l4.5 4.5L19 7.5",
  help: "M12 3.5a8.5 8.5 0 1 1 0 17 8.5 8.5 0 0 1 0-17ZM9.7 9.6a2.4 2.4 0 1 1 3.5 2.3c-.8.4-1.2.9-1.2 1.8M12 16.6h.01",
  folder: "M3.5 7A1.5 1.5 0 0 1 5 5.5h4l2 2.5h8A1.5 1.5 0 0 1 20.5 9.5v8a1.5 1.5 0 0 1-1.5 1.5H5a1.5 1.5 0 0 1-1.5-1.5z",
  key: "M8 9.5a4 4 0 1 1 0 8 4 4 0 0 1 0-8ZM11 11l8.5-6.5M16 7l2.5 3",
};

/** A drawing by its name, hidden from screen readers: what it stands on says what it does. */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", SHAPES[name]);
  svg.append(path);
  return svg;
}

/** Puts drawings where the HTML asks for them with `data-icon`. */
export function placeIcons(root = document) {
  for (const element of root.querySelectorAll("[data-icon]")) {
    element.prepend(icon(element.dataset.icon));
    element.removeAttribute("data-icon");
  }
}
