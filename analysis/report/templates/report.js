"use strict";
(() => {
  const table = document.querySelector(".matrix");
  if (!table) return;
  const data = JSON.parse(document.getElementById("match-ups").textContent);
  const tooltip = document.getElementById("tooltip");
  const dialog = document.getElementById("video");
  const video = dialog.querySelector("video");
  const rows = [...table.tBodies[0].rows];
  const content = (i, j) => rows[i].cells[j + 1].firstElementChild;
  let current = [0, 0];

  const place = (element) => {
    const cell = element.closest("td");
    return cell && table.contains(cell) ? [cell.parentNode.sectionRowIndex, cell.cellIndex - 1] : null;
  };
  const percent = (share) => `${(100 * share).toFixed(0)} %`;
  const add = (parent, tag, text) => {
    const element = document.createElement(tag);
    element.textContent = text; // Names are data, never HTML.
    parent.append(element);
    return element;
  };

  const facts = (i, j) => {
    const [episodes, wins0, ties, wins1, low0, high0, low1, high1, length, contacts, untouched0, untouched1] = data.numbers[i][j];
    const won = (wins, low, high) =>
      `${percent(wins / episodes)} (${(100 * low).toFixed(0)} to ${(100 * high).toFixed(0)}), ${wins} of ${episodes}`;
    const [side0, side1] = data.sides;
    const listed = [[`${side0} wins`, won(wins0, low0, high0)], [`${side1} wins`, won(wins1, low1, high1)]];
    if (ties) listed.push(["ties", `${ties} of ${episodes}`]);
    listed.push(["mean length", `${length.toFixed(0)} steps`], ["most contacts in a step", contacts.toFixed(1)]);
    listed.push([`${side0} wins without contact`, `${untouched0} of ${wins0}`], [`${side1} wins without contact`, `${untouched1} of ${wins1}`]);
    return listed;
  };

  const title = (i, j) => `${data.rows[i]} against ${data.columns[j]}`;

  const show = (i, j) => {
    hide();
    tooltip.replaceChildren();
    add(tooltip, "strong", title(i, j));
    const list = add(tooltip, "dl", "");
    for (const [name, value] of facts(i, j)) {
      add(list, "dt", name);
      add(list, "dd", value);
    }
    if (content(i, j).href) add(tooltip, "em", "Click or press Enter to see it played.");
    tooltip.hidden = false;
    content(i, j).setAttribute("aria-describedby", "tooltip");
    rows[i].cells[0].classList.add("active");
    table.tHead.rows[0].cells[j + 1].classList.add("active");
    const cell = content(i, j).getBoundingClientRect();
    const box = tooltip.getBoundingClientRect();
    const below = cell.bottom + 8 + box.height < window.innerHeight;
    const left = Math.min(cell.left, document.documentElement.clientWidth - box.width - 8);
    tooltip.style.left = `${Math.max(8, left)}px`;
    tooltip.style.top = `${Math.max(8, below ? cell.bottom + 8 : cell.top - 8 - box.height)}px`;
  };

  const hide = () => {
    tooltip.hidden = true;
    for (const marked of table.querySelectorAll(".active")) marked.classList.remove("active");
    for (const told of table.querySelectorAll("[aria-describedby]")) told.removeAttribute("aria-describedby");
  };

  const make_current = (i, j) => {
    content(...current).tabIndex = -1;
    current = [i, j];
    content(i, j).tabIndex = 0;
  };

  table.addEventListener("mouseover", (event) => {
    const found = place(event.target);
    if (found) show(...found);
    else hide();
  });
  table.addEventListener("mouseleave", hide);
  table.addEventListener("focusin", (event) => {
    const found = place(event.target);
    if (!found) return;
    make_current(...found);
    show(...found);
  });
  table.addEventListener("focusout", hide);
  table.parentNode.addEventListener("scroll", hide);

  table.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
    const [i, j] = current;
    const last = [rows.length - 1, data.columns.length - 1];
    const moves = {
      ArrowUp: [i - 1, j], ArrowDown: [i + 1, j], ArrowLeft: [i, j - 1], ArrowRight: [i, j + 1],
      Home: [i, 0], End: [i, last[1]],
    };
    const to = moves[event.key];
    if (!to || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    content(...to.map((value, axis) => Math.max(0, Math.min(last[axis], value)))).focus();
  });

  table.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const found = place(link);
    hide();
    dialog.querySelector("h3").textContent = title(...found);
    dialog.querySelector("p").textContent = facts(...found).slice(0, 2).map((fact) => fact.join(" ")).join("; ");
    video.src = link.getAttribute("href");
    dialog.showModal();
    video.play().catch(() => {}); // A browser may refuse to play unasked; its controls are there.
  });
  dialog.addEventListener("close", () => {
    video.pause();
    video.removeAttribute("src");
    video.load();
  });

  content(0, 0).tabIndex = 0;
})();
