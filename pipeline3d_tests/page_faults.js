// What anybody would call wrong in the picture of the page as it is now: a list of sentences, best empty.
() => {
  const faults = [];
  const CONTROLS = "a, button, input, select, summary, textarea";
  // https://www.w3.org/TR/WCAG22/#target-size-minimum and #contrast-minimum
  const SMALLEST_PX = 24, CONTRAST = 4.5, CONTRAST_OF_LARGE = 3, LARGE_PX = 24, LARGE_BOLD_PX = 18.66;
  const SLACK_PX = 1;
  const LONG_NAME = 40;
  const called = (element) => `${element.tagName.toLowerCase()}${element.id && "#" + element.id} "${
    (element.innerText || element.name || element.alt || "").trim().slice(0, 40)}"`;
  const isSeen = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  const seen = [...document.body.querySelectorAll("*")].filter((element) => isSeen(element));
  const ownText = (element) => [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());

  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > width) faults.push(`the page is ${document.documentElement.scrollWidth} px wide in ${width}`);
  for (const element of seen) {
    const { left, right } = element.getBoundingClientRect();
    if (right > width + SLACK_PX || left < -SLACK_PX) faults.push(`${called(element)} reaches beyond the side`);
  }

  const boxes = seen.filter((element) => element.matches(CONTROLS) && getComputedStyle(element).display !== "inline")
    .map((element) => [element, element.getBoundingClientRect()]);
  for (const [element, box] of boxes) {
    const target = element.closest("label")?.getBoundingClientRect() || box;
    if (Math.min(target.width, target.height) < SMALLEST_PX) faults.push(`${called(element)} is too small to hit`);
    for (const [other, hit] of boxes) {
      if (element === other || element.contains(other) || other.contains(element)) continue;
      const across = Math.min(box.right, hit.right) - Math.max(box.left, hit.left);
      const down = Math.min(box.bottom, hit.bottom) - Math.max(box.top, hit.top);
      if (across > SLACK_PX && down > SLACK_PX) faults.push(`${called(element)} lies on ${called(other)}`);
    }
  }

  const range = document.createRange();
  for (const element of seen) {
    for (const text of ownText(element)) {
      // a word that goes on in the next line was broken for want of room; a long name may be
      for (const { 0: word, index } of text.data.matchAll(/[a-z]+/gi)) {
        const [before, after] = [text.data.slice(0, index), text.data.slice(index)];
        if (/\S*$/.exec(before)[0].length + /^\S*/.exec(after)[0].length > LONG_NAME) continue;
        range.setStart(text, index);
        range.setEnd(text, index + word.length);
        const lines = new Set([...range.getClientRects()].map(({ top }) => Math.round(top)));
        if (lines.size > 1) faults.push(`"${word}" is broken in ${called(element)}`);
      }
      range.selectNodeContents(text);
      const [inner, outer] = [range.getBoundingClientRect(), element.getBoundingClientRect()];
      const isCut = getComputedStyle(element).display !== "inline" && inner.right > outer.right + SLACK_PX;
      if (isCut) faults.push(`the text of ${called(element)} is wider than it is`);
    }
  }

  for (const picture of document.images) {
    if (isSeen(picture) && picture.complete && !picture.naturalWidth) faults.push(`${called(picture)} shows nothing`);
  }

  const pen = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
  const paint = (colours) => {
    pen.clearRect(0, 0, 1, 1);
    for (const [colour, alpha] of colours) {
      pen.globalAlpha = alpha;
      pen.fillStyle = colour;
      pen.fillRect(0, 0, 1, 1);
    }
    return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const luminance = (colour) => colour.map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, channel) => sum + value * [0.2126, 0.7152, 0.0722][channel], 0);
  const paper = document.body.appendChild(document.createElement("i"));
  paper.style.background = "Canvas";
  const canvas = getComputedStyle(paper).backgroundColor;
  paper.remove();
  for (const element of seen) {
    if (!ownText(element).length && !element.value) continue;
    if (element.disabled || element.matches("option, optgroup, [type=checkbox]")) continue;
    const above = [];
    for (let one = element; one; one = one.parentElement) above.push(getComputedStyle(one));
    const grounds = [[canvas, 1], ...above.map(({ backgroundColor }) => [backgroundColor, 1]).reverse()];
    const opacity = above.reduce((product, style) => product * style.opacity, 1);
    const [{ color, fontSize, fontWeight }] = above;
    const [one, other] = [paint(grounds), paint([...grounds, [color, opacity]])].map(luminance).sort((a, b) => b - a);
    const contrast = (one + 0.05) / (other + 0.05);
    const isLarge = parseFloat(fontSize) >= (fontWeight >= 600 ? LARGE_BOLD_PX : LARGE_PX);
    if (contrast < (isLarge ? CONTRAST_OF_LARGE : CONTRAST)) faults.push(`${called(element)} has a contrast of ${contrast.toFixed(1)}`);
  }
  return faults;
}
