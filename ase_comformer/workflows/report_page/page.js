"use strict";
// Draws the scenes of the page on canvases and turns them: surfaces (a grid of points around the origin, coloured by a
// value) and crystals (spheres and lines). No library, no network. The numbers come from the element #scenes.
(() => {
  const scenes = JSON.parse(document.getElementById("scenes").textContent);
  const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  const ramp = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
  const signed = [[33, 102, 172], [146, 197, 222], [247, 247, 247], [244, 165, 130], [178, 24, 43]];

  function colour(share, map) {
    const place = Math.min(Math.max(share, 0), 1) * (map.length - 1);
    const low = Math.min(Math.floor(place), map.length - 2);
    return [0, 1, 2].map((k) => map[low][k] + (place - low) * (map[low + 1][k] - map[low][k]));
  }

  function turned(point, angles) {
    const [a, b] = angles;
    const x = point[0] * Math.cos(a) - point[1] * Math.sin(a);
    const y = point[0] * Math.sin(a) + point[1] * Math.cos(a);
    const z = point[2];
    return [x, y * Math.cos(b) - z * Math.sin(b), y * Math.sin(b) + z * Math.cos(b)];
  }

  function View(canvas, scene) {
    const context = canvas.getContext("2d");
    let angles = [0.6, 1.95];
    let turning = !still;
    let held = null;

    function fit() {
      const scale = window.devicePixelRatio || 1;
      canvas.width = Math.max(1, Math.round(canvas.clientWidth * scale));
      canvas.height = Math.max(1, Math.round(canvas.clientHeight * scale));
    }

    function place(point) {
      const size = 0.43 * Math.min(canvas.width, canvas.height) / scene.extent;
      return [canvas.width / 2 + size * point[0], canvas.height / 2 + size * point[1], point[2]];
    }

    function line(from, to, style, width) {
      const p = place(turned(from, angles));
      const q = place(turned(to, angles));
      context.strokeStyle = style;
      context.lineWidth = width * (window.devicePixelRatio || 1);
      context.beginPath();
      context.moveTo(p[0], p[1]);
      context.lineTo(q[0], q[1]);
      context.stroke();
      return q;
    }

    function axes() {
      ["x", "y", "z"].forEach((name, k) => {
        const end = [0, 0, 0];
        end[k] = 1.12 * scene.extent;
        const tip = line([0, 0, 0], end, "#8894a0", 1);
        context.fillStyle = "#5b6b7b";
        context.font = `${13 * (window.devicePixelRatio || 1)}px sans-serif`;
        context.fillText(name, tip[0] + 3, tip[1] - 3);
      });
    }

    function surface() {
      const { points, values, low, high } = scene;
      const map = scene.signed ? signed : ramp;
      const moved = points.map((row) => row.map((point) => turned(point, angles)));
      const faces = [];
      for (let i = 0; i + 1 < moved.length; i += 1) {
        for (let j = 0; j + 1 < moved[i].length; j += 1) {
          const corners = [moved[i][j], moved[i + 1][j], moved[i + 1][j + 1], moved[i][j + 1]];
          const u = [0, 1, 2].map((k) => corners[2][k] - corners[0][k]);
          const v = [0, 1, 2].map((k) => corners[3][k] - corners[1][k]);
          const n = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
          const length = Math.hypot(...n) || 1;
          const light = 0.55 + 0.45 * Math.abs(0.25 * n[0] - 0.45 * n[1] - 0.86 * n[2]) / length;
          const mean = (values[i][j] + values[i + 1][j] + values[i + 1][j + 1] + values[i][j + 1]) / 4;
          const rgb = colour((mean - low) / (high - low || 1), map).map((c) => Math.round(c * light));
          faces.push([corners.reduce((sum, c) => sum + c[2], 0), corners.map(place), `rgb(${rgb.join(",")})`]);
        }
      }
      faces.sort((one, other) => other[0] - one[0]);
      axes();
      for (const [, corners, style] of faces) {
        context.fillStyle = context.strokeStyle = style;
        context.lineWidth = 0.7;
        context.beginPath();
        corners.forEach((c, k) => (k ? context.lineTo(c[0], c[1]) : context.moveTo(c[0], c[1])));
        context.closePath();
        context.fill();
        context.stroke();
      }
    }

    function crystal() {
      scene.edges.forEach(([from, to]) => line(from, to, "#b5c0ca", 1));
      const unit = place([1, 0, 0])[0] - place([0, 0, 0])[0];
      const atoms = scene.atoms.map((atom) => [...turned(atom.at, angles), atom]);
      atoms.sort((one, other) => other[2] - one[2]);
      for (const [x, y, z, atom] of atoms) {
        const at = place([x, y, z]);
        const radius = Math.max(atom.radius * unit, 3);
        const shade = context.createRadialGradient(
          at[0] - 0.35 * radius, at[1] - 0.35 * radius, 0.1 * radius, at[0], at[1], radius);
        shade.addColorStop(0, "#ffffff");
        shade.addColorStop(0.35, atom.colour);
        shade.addColorStop(1, atom.dark);
        context.fillStyle = shade;
        context.beginPath();
        context.arc(at[0], at[1], radius, 0, 2 * Math.PI);
        context.fill();
      }
    }

    function draw() {
      context.clearRect(0, 0, canvas.width, canvas.height);
      if (scene.kind === "crystal") crystal(); else surface();
      canvas.dataset.angle = angles.map((angle) => angle.toFixed(4)).join(" ");
    }

    canvas.addEventListener("pointerdown", (event) => {
      turning = false;
      held = [event.clientX, event.clientY, ...angles];
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!held) return;
      angles = [held[2] + 0.01 * (event.clientX - held[0]), held[3] + 0.01 * (event.clientY - held[1])];
      draw();
    });
    ["pointerup", "pointercancel"].forEach((name) => canvas.addEventListener(name, () => { held = null; }));
    canvas.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] };
      if (!(event.key in steps)) return;
      event.preventDefault();
      turning = false;
      angles = [angles[0] + steps[event.key][0], angles[1] + steps[event.key][1]];
      draw();
    });
    canvas.addEventListener("dblclick", () => { turning = !turning; });
    window.addEventListener("resize", () => { fit(); draw(); });
    let seen = false;
    new IntersectionObserver((entries) => { seen = entries[entries.length - 1].isIntersecting; }).observe(canvas);
    setInterval(() => {
      if (!turning || !seen || document.hidden) return;
      angles = [angles[0] + 0.012, angles[1]];
      draw();
    }, 50);
    fit();
    draw();
  }

  document.querySelectorAll("canvas[data-scene]").forEach((canvas) => View(canvas, scenes[canvas.dataset.scene]));
})();
