// One tab for each LLM, tables that sort by a click on a column's head, and a box that filters their rows.
(function () {
  "use strict";
  var root = document.documentElement;
  root.classList.add("js");
  function all(selector, within) { return Array.prototype.slice.call((within || document).querySelectorAll(selector)); }

  all("nav.tabs").forEach(function (list) {
    var tabs = all("a", list);
    // What belongs to an LLM stands in several places, with what belongs to all between them.
    var panels = tabs.map(function (tab) { return all('div[data-tab="' + tab.dataset.tab + '"]'); });
    list.setAttribute("role", "tablist");
    tabs.forEach(function (tab, index) {
      tab.id = "tab-" + tab.dataset.tab;
      tab.setAttribute("role", "tab");
      tab.setAttribute("aria-controls", panels[index].map(function (panel) { return panel.id; }).join(" "));
      panels[index].forEach(function (panel) {
        panel.setAttribute("role", "tabpanel");
        panel.setAttribute("aria-labelledby", tab.id);
      });
      tab.addEventListener("click", function (event) { event.preventDefault(); choose(index, true); });
      tab.addEventListener("keydown", function (event) {
        var last = tabs.length - 1;
        var to = { ArrowRight: index === last ? 0 : index + 1, ArrowLeft: index ? index - 1 : last, Home: 0, End: last, " ": index }[event.key];
        if (to === undefined) { return; }
        event.preventDefault();
        choose(to, true);
        tabs[to].focus();
      });
    });
    function choose(chosen, noted) {
      tabs.forEach(function (tab, index) {
        tab.setAttribute("aria-selected", String(index === chosen));
        tab.tabIndex = index === chosen ? 0 : -1;
        panels[index].forEach(function (panel) { panel.hidden = index !== chosen; });
      });
      if (noted) { try { history.replaceState(null, "", tabs[chosen].getAttribute("href")); } catch (error) { /* inside a frame */ } }
    }
    function follow() {
      var target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
      var at = panels.findIndex(function (parts) { return target && parts.some(function (part) { return part.contains(target); }); });
      if (at >= 0) { choose(at, false); }
    }
    choose(0, false);
    follow();
    window.addEventListener("hashchange", follow);
  });

  function valueOf(row, column) {
    var cell = row.cells[column];
    var text = cell.dataset.v === undefined ? cell.textContent.trim() : cell.dataset.v;
    var number = text === "" ? NaN : Number(text);
    return isNaN(number) ? text.toLowerCase() : number;
  }
  function compared(a, b) {
    if (a === "" || b === "") { return 0; }
    if (typeof a !== typeof b) { return typeof a === "number" ? -1 : 1; }
    return typeof a === "number" ? a - b : a.localeCompare(b);
  }
  all("table.sortable").forEach(function (table) {
    var body = table.tBodies[0];
    var given = Array.prototype.slice.call(body.rows);
    var heads = all("thead th", table);
    heads.forEach(function (head, column) {
      if (!head.textContent.trim()) { return; }
      var button = document.createElement("button");
      button.type = "button";
      while (head.firstChild) { button.appendChild(head.firstChild); }
      head.appendChild(button);
      button.addEventListener("click", function () {
        var first = head.dataset.first || "ascending";
        var second = first === "ascending" ? "descending" : "ascending";
        var was = head.getAttribute("aria-sort");
        var order = was === first ? second : was === second ? "" : first;
        heads.forEach(function (each) { each.removeAttribute("aria-sort"); });
        table.classList.toggle("sorted", order !== "");
        var rows = given.slice();
        if (order) {
          head.setAttribute("aria-sort", order);
          var sign = order === "ascending" ? 1 : -1;
          var known = rows.filter(function (row) { return valueOf(row, column) !== ""; });
          var unknown = rows.filter(function (row) { return valueOf(row, column) === ""; });
          known.sort(function (a, b) { return sign * compared(valueOf(a, column), valueOf(b, column)); });
          rows = known.concat(unknown);
        }
        rows.forEach(function (row) { body.appendChild(row); });
      });
    });
  });

  all(".filter input").forEach(function (input) {
    var rows = Array.prototype.slice.call(document.getElementById(input.dataset.table).tBodies[0].rows);
    var count = input.parentNode.parentNode.querySelector("output");
    input.addEventListener("input", function () {
      var words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      var shown = 0;
      rows.forEach(function (row) {
        var text = row.textContent.toLowerCase();
        row.hidden = !words.every(function (word) { return text.indexOf(word) >= 0; });
        shown += row.hidden ? 0 : 1;
      });
      count.textContent = words.length ? shown + " of " + rows.length : "";
    });
  });
})();
