// A pressed reconstruction shows the original, so that the eye sees what changes.
document.querySelectorAll(".beside").forEach((row) => {
  const original = row.querySelector(".original img").src;
  row.querySelectorAll(".reconstruction img").forEach((image) => {
    const own = image.src;
    const show = (source) => () => (image.src = source);
    image.tabIndex = 0;
    image.draggable = false;
    image.addEventListener("pointerdown", show(original));
    for (const end of ["pointerup", "pointerleave", "pointercancel", "blur", "keyup"]) image.addEventListener(end, show(own));
    image.addEventListener("keydown", (event) => {
      if (event.key !== " " && event.key !== "Enter") return;
      event.preventDefault();
      image.src = original;
    });
  });
});
