// Tells a drawing's numbers where the pointer, a finger or the arrow keys are; the drawing itself is complete without.
(function () {
  "use strict";
  var WIDTH = 792; // of a drawing in its own units
  var NEAR = 16; // pixels
  var tip = document.createElement("div");
  tip.className = "tip";
  tip.setAttribute("role", "status");
  document.body.appendChild(tip);

  function hide() { tip.classList.remove("on"); }

  function show(drawing, point) {
    var box = drawing.getBoundingClientRect(), scale = box.width / WIDTH;
    tip.textContent = point[2];
    tip.classList.add("on");
    var x = box.left + point[0] * scale, y = box.top + point[1] * scale;
    var left = Math.min(x + 12, window.innerWidth - tip.offsetWidth - 8);
    var top = y - tip.offsetHeight - 10;
    tip.style.left = Math.max(left, 8) + window.scrollX + "px";
    tip.style.top = (top > 4 ? top : y + 14) + window.scrollY + "px";
  }

  document.querySelectorAll("figure > script").forEach(function (script) {
    var points = JSON.parse(script.textContent);
    var drawing = script.parentNode.querySelector(".drawing");
    var at = -1;
    drawing.tabIndex = 0;

    function nearest(event) {
      var box = drawing.getBoundingClientRect(), scale = box.width / WIDTH;
      var best = NEAR * NEAR, found = -1;
      points.forEach(function (point, i) {
        var dx = event.clientX - box.left - point[0] * scale, dy = event.clientY - box.top - point[1] * scale;
        if (dx * dx + dy * dy < best) { best = dx * dx + dy * dy; found = i; }
      });
      return found;
    }

    function point(event) {
      at = nearest(event);
      if (at < 0) hide(); else show(drawing, points[at]);
    }
    drawing.addEventListener("pointermove", point);
    drawing.addEventListener("pointerdown", point);
    drawing.addEventListener("pointerleave", hide);
    drawing.addEventListener("blur", hide);
    drawing.addEventListener("keydown", function (event) {
      var step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (event.key === "Escape") hide();
      if (!step) return;
      event.preventDefault();
      at = (at + step + points.length) % points.length;
      show(drawing, points[at]);
    });
  });

  // A link to something folded opens all that it lies in.
  function unfold() {
    var target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (var part = target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
    target.scrollIntoView();
  }
  window.addEventListener("hashchange", unfold);
  document.addEventListener("click", function (event) {
    var link = event.target.closest && event.target.closest('a[href^="#"]');
    if (link && link.getAttribute("href") === location.hash) unfold();
  });
  unfold();

  // On paper everything is unfolded.
  window.addEventListener("beforeprint", function () {
    document.querySelectorAll("details").forEach(function (one) { one.open = true; });
  });

  // Finds claims by their words, and texts by theirs.
  var filter = document.getElementById("filter"), count = document.querySelector("search output");
  if (filter) {
    filter.parentNode.hidden = false;
    var claims = document.querySelectorAll(".claim"), lines = document.querySelectorAll(".texts tbody tr");
    filter.addEventListener("input", function () {
      var words = filter.value.toLowerCase().split(/\s+/).filter(Boolean), found = [0, 0];
      function matches(text) { return words.every(function (word) { return text.indexOf(word) >= 0; }); }
      claims.forEach(function (claim) {
        claim.hidden = !matches((claim.dataset.kind + " " + claim.textContent).toLowerCase());
        found[0] += !claim.hidden;
      });
      lines.forEach(function (line) {
        line.hidden = !matches(line.textContent.toLowerCase());
        if (words.length && !line.hidden) line.closest("details.fold").open = true;
        found[1] += !line.hidden;
      });
      count.hidden = !words.length;
      count.querySelectorAll("b").forEach(function (number, i) { number.textContent = found[i]; });
    });
  }
})();
