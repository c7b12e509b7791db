// Runs in a copy of a page in a frame, and adds what it found to the document around: whether the layout holds, what the tables contain, whether
// text is readable, what assistive technology gets, and what there is besides text.
'use strict';
{
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const box = (element) => element.getBoundingClientRect();
  const isVisible = (element) => box(element).width > 0 && box(element).height > 0;
  const name = (element) => {
    const panel = element.closest('[id]');
    return `${panel ? panel.id : '?'} <${element.localName}> ${element.textContent.trim().slice(0, 40)}`;
  };
  const overlap = (one, other) =>
    one.left < other.right - 0.5 && other.left < one.right - 0.5 &&
    one.top < other.bottom - 0.5 && other.top < one.bottom - 0.5;

  const pairs = (elements, check) =>
    elements.forEach((one, number) => elements.slice(number + 1).forEach((other) => check(one, other)));

  const layout = () => {
    const problems = [];
    const panels = all('.panel');
    for (const panel of panels) {
      const outer = box(panel);
      if (!isVisible(panel)) problems.push(`${panel.id} is not drawn`);
      if (outer.left < 0 || outer.right > innerWidth + 0.5) problems.push(`${panel.id} is outside of the screen`);
      for (const inner of all('*', panel)) {
        const { left, right, width } = box(inner);
        if (width && !inner.parentElement.closest('.scroll') && (left < outer.left - 1 || right > outer.right + 1)) {
          problems.push(`${name(inner)} is outside of its panel`);
        }
      }
    }
    pairs(panels, (one, other) => {
      if (overlap(box(one), box(other))) problems.push(`${one.id} and ${other.id} overlap`);
    });
    for (const svg of all('figure svg')) {
      if (!isVisible(svg)) problems.push(`${name(svg)} is not drawn`);
      if (!all('rect', svg).some(isVisible)) problems.push(`${name(svg)} has no visible bar`);
      const labels = all('text', svg).filter(isVisible);
      pairs(labels, (one, other) => {
        if (overlap(box(one), box(other))) problems.push(`${name(one)} and ${name(other)} overlap`);
      });
      // Beside each other, they must not read as one.
      const times = labels.filter((label) => !label.closest('.values'));
      pairs(times, (one, other) => {
        const distance = Math.max(box(one).left, box(other).left) - Math.min(box(one).right, box(other).right);
        if (distance < 4) problems.push(`${name(one)} and ${name(other)} touch`);
      });
      const panel = box(svg.closest('.panel'));
      for (const { left, right } of labels.map(box)) {
        if (left < panel.left || right > panel.right) problems.push(`${name(svg)} has a label that is cut off`);
      }
      if (all('.axis', svg).length && !times.length) problems.push(`${name(svg)} has no time`);
    }
    for (const row of all('tbody tr').filter(isVisible)) {
      // Rows grow with their text, except for marks that are stacked on letters.
      for (const text of all('bdi, time', row)) {
        const cell = text.parentElement;
        if (box(text).width && box(text).height > box(cell).height + 1) problems.push(`${name(text)} is higher than its cell`);
      }
    }
    if (document.documentElement.scrollWidth > innerWidth) {
      const scrolls = (element) => element && getComputedStyle(element).overflowX !== 'visible';
      const outside = all('main *').filter((element) => box(element).right > innerWidth && !scrolls(element.closest('.scroll')));
      problems.push(`the page is wider than the screen: ${outside.slice(0, 3).map(name).join(', ')}`);
    }
    return problems;
  };

  // Tables that show all of their columns only after they were scrolled.
  const wide = () =>
    all('.scroll')
      .filter((scroll) => scroll.checkVisibility() && scroll.scrollWidth > scroll.clientWidth + 1)
      .map((scroll) => `${name(scroll)} is ${scroll.scrollWidth - scroll.clientWidth} pixels too wide`);

  const numbers = (color) => color.match(/[\d.]+/g).map(Number);
  const luminance = (color) => {
    const [red, green, blue] = color.map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ratio = (one, other) => {
    const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
  };
  const background = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const [red, green, blue, alpha = 1] = numbers(getComputedStyle(at).backgroundColor);
      if (alpha > 0) return [red, green, blue];
    }
    return [255, 255, 255];
  };

  // The ratios of the Web Content Accessibility Guidelines 2.2: 4.5 for text (1.4.3), 3 for graphics (1.4.11).
  const contrast = () => {
    const problems = new Set();
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const element = walker.currentNode.parentElement;
      if (!walker.currentNode.data.trim() || !isVisible(element) || element.closest('title, script')) continue;
      const style = getComputedStyle(element);
      const color = numbers(element.closest('svg') ? style.fill : style.color).slice(0, 3);
      const found = ratio(color, background(element));
      if (found < 4.5) problems.add(`${element.localName}.${element.className}: ${found.toFixed(2)}`);
    }
    for (const rect of all('pattern rect, .legend .s0, .legend .s7, .ranking .bar rect')) {
      const found = ratio(numbers(getComputedStyle(rect).fill).slice(0, 3), background(document.querySelector('.panel')));
      if (found < 3) problems.add(`${name(rect)}: ${found.toFixed(2)}`);
    }
    return [...problems];
  };

  const accessibility = () => {
    const problems = [];
    const expect = (holds, problem) => holds || problems.push(problem);
    expect(document.documentElement.lang === 'en', 'no language');
    expect(document.title, 'no title');
    expect(all('h1').length === 1, 'not one h1');
    for (const landmark of ['main', 'nav', 'body > header', 'body > footer']) {
      expect(all(landmark).length === 1, `not one ${landmark}`);
    }
    let level = 0;
    for (const heading of all('h1, h2, h3, h4, h5, h6')) {
      const own = Number(heading.localName[1]);
      expect(own <= level + 1, `${name(heading)} skips a level`);
      level = own;
    }
    const ids = all('[id]').map((element) => element.id);
    expect(new Set(ids).size === ids.length, 'an id is used twice');
    for (const element of all('[aria-labelledby]')) {
      const label = document.getElementById(element.getAttribute('aria-labelledby'));
      expect(label && label.textContent.trim(), `${name(element)} has no name`);
    }
    for (const section of all('section, nav, aside, [role=group]')) {
      expect(section.ariaLabel || section.hasAttribute('aria-labelledby'), `${name(section)} has no name`);
    }
    for (const svg of all('svg')) {
      const hasName = svg.getAttribute('role') === 'img' && svg.ariaLabel;
      expect(hasName || svg.ariaHidden === 'true', `${name(svg)} has no name`);
    }
    for (const figure of all('.bars')) {
      expect(figure.parentElement.querySelector('details table'), `${name(figure)} has no table`);
    }
    for (const heading of all('th')) expect(['row', 'col'].includes(heading.scope), `${name(heading)} has no scope`);
    for (const table of all('table')) {
      const widths = grid(table).map((row) => row.length);
      expect(Math.min(...widths) === Math.max(...widths), `${name(table)} has rows of different lengths`);
    }
    for (const input of all('input')) expect(input.labels.length === 1, `${name(input)} has no label`);
    for (const link of all('a')) {
      expect(document.getElementById(decodeURIComponent(link.hash.slice(1))), `${name(link)} leads nowhere`);
    }
    // With the keyboard, everything is reached in the order in which it is read, and can be seen.
    for (const control of all('a, summary, input, [tabindex]').filter((element) => element.checkVisibility())) {
      control.focus({ preventScroll: true });
      expect(document.activeElement === control && control.tabIndex === 0, `${name(control)} cannot be reached`);
      expect(getComputedStyle(control).outlineStyle !== 'none', `${name(control)} does not show that it has the focus`);
    }
    for (const scrollable of all('*').filter((element) => ['auto', 'scroll'].includes(getComputedStyle(element).overflowX))) {
      const isReachable = scrollable.tabIndex >= 0 || scrollable.querySelector('a, input, summary');
      expect(isReachable, `${name(scrollable)} cannot be scrolled with the keyboard`);
    }
    return problems;
  };

  const ELEMENTS = new Set((
    'html head meta title link style body a svg defs pattern rect path circle header h1 p b bdi aside ul li nav small main section ' +
    'h2 h3 div dl dt dd figure figcaption g line text title details summary table thead tbody tr th td time label input i code footer wbr'
  ).split(' '));
  const ATTRIBUTES = new Set((
    'lang charset http-equiv content name rel href class id title width height aria-hidden aria-label aria-labelledby role tabindex ' +
    'scope rowspan colspan datetime type x y x1 x2 y1 y2 cx cy r d dy patternUnits'
  ).split(' '));

  // What the page consists of besides text: elements and attributes that the program writes, and nothing else.
  const foreign = () => {
    const problems = [];
    for (const element of all('*')) {
      if (element.id === 'measure') continue;
      if (!ELEMENTS.has(element.localName)) problems.push(`an element <${element.localName}>`);
      for (const { name: attribute, value } of element.attributes) {
        if (!ATTRIBUTES.has(attribute)) problems.push(`an attribute ${attribute} of <${element.localName}>`);
        if (attribute === 'href' && !value.startsWith('#') && !value.startsWith('data:image/svg+xml,')) {
          problems.push(`a link to ${value}`);
        }
      }
    }
    if (window.pwned) problems.push('a script of an event was executed');
    const loaded = performance.getEntriesByType('resource').map((entry) => entry.name);
    problems.push(...loaded.filter((url) => !url.startsWith('data:')).map((url) => `a request for ${url}`));
    return problems;
  };

  // Rows of a table as texts; a cell that spans rows counts in each of them.
  const grid = (table) => {
    const rows = all('tr', table).map(() => []);
    all('tr', table).forEach((row, top) => {
      let column = 0;
      for (const cell of row.cells) {
        while (rows[top][column] !== undefined) column += 1;
        for (let down = 0; down < cell.rowSpan; down += 1) {
          for (let right = 0; right < cell.colSpan; right += 1) rows[top + down][column + right] = cell.textContent.trim();
        }
      }
    });
    return rows;
  };

  const contents = () => {
    const panels = {};
    for (const panel of all('.panel')) {
      const table = panel.querySelector('table');
      const tiles = all('.tiles dt', panel).map((label) => [label.textContent, label.nextElementSibling.textContent]);
      panels[panel.id] = { text: panel.textContent, rows: table ? grid(table) : tiles };
    }
    return panels;
  };

  const found = {
    layout: layout(),
    wide: wide(),
    contrast: contrast(),
    accessibility: accessibility(),
    foreign: foreign(),
    panels: contents(),
  };
  const bytes = new TextEncoder().encode(JSON.stringify(found));
  const output = parent.document.createElement('pre');
  output.id = `measured-${innerWidth}`;
  output.textContent = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  parent.document.body.append(output);
}
