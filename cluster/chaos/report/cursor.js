// A line at the pointer's instant through all lanes of a picture.
for (const picture of document.querySelectorAll(".timeline")) {
  picture.addEventListener("pointermove", (event) => {
    const plot = picture.querySelector(".plot").getBoundingClientRect();
    const share = (event.clientX - plot.left) / plot.width;
    if (share < 0 || share > 1) return void picture.removeAttribute("data-at");
    picture.style.setProperty("--at", `${event.clientX - picture.getBoundingClientRect().left}px`);
    picture.dataset.at = `${(share * picture.dataset.end).toFixed(1)}s`;
  });
  picture.addEventListener("pointerleave", () => picture.removeAttribute("data-at"));
}
