"use strict";
(() => {
  const valueOf = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.value ?? cell.textContent.trim();
    const number = text === "" ? NaN : Number(text);
    return { text, number };
  };
  const compare = (a, b) =>
    Number.isNaN(a.number) || Number.isNaN(b.number) ? a.text.localeCompare(b.text) : a.number - b.number;

  const sortBy = (table, column, descending) => {
    const body = table.tBodies[0];
    const rows = Array.from(body.rows, (row) => ({ row, key: valueOf(row, column) }));
    const missing = rows.filter((entry) => entry.key.text === "");
    const known = rows.filter((entry) => entry.key.text !== "");
    known.sort((a, b) => (descending ? compare(b.key, a.key) : compare(a.key, b.key)));
    body.append(...known.concat(missing).map((entry) => entry.row));
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = Array.from(table.tHead.rows[0].cells);
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const descending = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", descending ? "descending" : "ascending");
        sortBy(table, column, descending);
      });
    });
  }

  for (const stepper of document.querySelectorAll(".stepper")) {
    const input = stepper.querySelector("input");
    const texts = Array.from(stepper.querySelectorAll("li"), (tick) => tick.dataset.text);
    const show = () => {
      stepper.querySelector("output").textContent = texts[input.value];
      input.setAttribute("aria-valuetext", texts[input.value]);
      for (const part of stepper.parentElement.querySelectorAll("[data-step]")) {
        part.hidden = part.dataset.step !== input.value;
      }
    };
    input.addEventListener("input", show);
    stepper.hidden = false;
    show();
  }

  const offer = (link, make) => {
    link.hidden = false;
    link.addEventListener("click", () => {
      const { name, kind, text } = make();
      link.download = name;
      link.href = URL.createObjectURL(new Blob([text], { type: kind }));
    });
  };

  // The first rule of the page holds the light colours: a file of its own has them, whatever the theme.
  const light = document.styleSheets[0].cssRules[0].style;
  const drawingOf = (view) => {
    const drawing = view.querySelector("svg").cloneNode(true);
    const { width, height } = drawing.viewBox.baseVal;
    drawing.setAttribute("width", `${width}pt`);
    drawing.setAttribute("height", `${height}pt`);
    drawing.removeAttribute("aria-hidden");
    drawing.style.strokeLinejoin = "round";
    const text = new XMLSerializer().serializeToString(drawing);
    return text.replace(/var\((--\w+)\)/g, (_, name) => light.getPropertyValue(name).trim());
  };
  for (const link of document.querySelectorAll("a.svg")) {
    offer(link, () => {
      const view = link.closest("article").querySelector("figure:not([hidden])");
      return { name: `${view.dataset.name}.svg`, kind: "image/svg+xml", text: drawingOf(view) };
    });
  }
  offer(document.getElementById("record-link"), () => {
    const text = document.getElementById("record").textContent;
    return { name: "result.json", kind: "application/json", text };
  });
})();
