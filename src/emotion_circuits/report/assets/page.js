// Draws each chart over its static picture when it comes near the screen, in the page's colours.
(function () {
  "use strict";
  if (!window.Plotly) return;
  var options = { displayModeBar: false, responsive: true, doubleClick: false };

  function painted(value, style) {
    if (typeof value === "string") {
      var match = /^var\((--[\w-]+)\)$/.exec(value);
      return match ? style.getPropertyValue(match[1]).trim() : value;
    }
    if (Array.isArray(value)) return value.map(function (item) { return painted(item, style); });
    if (value && typeof value === "object") {
      var copy = {};
      Object.keys(value).forEach(function (key) { copy[key] = painted(value[key], style); });
      return copy;
    }
    return value;
  }

  function draw(figure) {
    var chart = painted(JSON.parse(figure.querySelector("script").textContent), getComputedStyle(document.documentElement));
    var target = figure.querySelector(".live");
    figure.classList.add("drawn");
    try {
      Plotly.react(target, chart.data, chart.layout, options);
    } catch (error) {
      figure.classList.remove("drawn"); // the static picture stays
    }
  }

  var figures = Array.prototype.slice.call(document.querySelectorAll("figure.chart"));
  var shown = [];
  var watcher = new IntersectionObserver(function (entries) {
    entries.forEach(function (entry) {
      if (!entry.isIntersecting) return;
      watcher.unobserve(entry.target);
      shown.push(entry.target);
      draw(entry.target);
    });
  }, { rootMargin: "600px" });
  figures.forEach(function (figure) { watcher.observe(figure); });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", function () { shown.forEach(draw); });
})();
