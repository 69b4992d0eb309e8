// The script of the page that gpt2 score --html writes. score-page.ts describes the data.

(() => {
  const data = JSON.parse(byId('data').textContent);
  const { vocabulary, topCount, limits } = data;
  const elements = {};
  for (const { id } of document.querySelectorAll('[id]')) elements[id] = byId(id);

  /** The text that is shown. */
  let text;
  /** The element of each token. */
  let spans = [];
  /** The token of the cursor; -1 for none. */
  let chosen = -1;
  /** The token whose details are shown; -1 for none. */
  let shown = -1;
  /** The place in the line from which the cursor moves up and down. */
  let column;

  function byId(id) {
    return document.getElementById(id);
  }

  /** Creates an element with children, which may be texts. */
  function create(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  /** A text without scored tokens has no figures. */
  const decimal = (value, digits) =>
    value === null
      ? '–'
      : value.toLocaleString('en', {
          minimumFractionDigits: digits,
          maximumFractionDigits: digits,
        });
  const whole = (value) => value.toLocaleString('en');
  const percent = (share) => (share === null ? '–' : `${decimal(share * 100, 1)} %`);

  /** Three significant digits, however small the probability is. */
  function probabilityText(bits) {
    const value = 100 * 2 ** -bits;
    return `${value < 0.001 ? value.toExponential(1).replace('e-', '·10⁻').replace(/\d+$/, raised) : value.toPrecision(3)} %`;
  }

  function raised(digits) {
    return digits.replace(/\d/g, (digit) => '⁰¹²³⁴⁵⁶⁷⁸⁹'[digit]);
  }

  function classOf(value, ends) {
    const found = ends.findIndex((end) => value < end);
    return found === -1 ? ends.length : found;
  }

  // The header

  function showFigures() {
    const { figures } = text;
    const entries = [
      ['Perplexity', decimal(figures.perplexity, 2)],
      ['Bits per byte', decimal(figures.bitsPerByte, 3)],
      ['Tokens', whole(figures.tokenCount)],
      ['Top 10', percent(figures.rankShares.top10)],
      ['Top 100', percent(figures.rankShares.top100)],
      ['Top 1,000', percent(figures.rankShares.top1000)],
    ];
    elements.figures.replaceChildren(
      ...entries.map(([name, value]) =>
        create('div', {}, create('dt', {}, name), create('dd', {}, value)),
      ),
    );
  }

  // The text

  /** A block for each line, so that the browser lays out only those in the window. */
  function showText() {
    spans = text.pieces.map((piece, token) => {
      const classes = [
        `s${classOf(text.bits[token], limits.surprisal)}`,
        `r${classOf(text.ranks[token], limits.rank)}`,
      ];
      if (piece.startsWith('\n')) classes.push('break');
      if (piece === '') classes.push('part');
      const span = create('span', { class: classes.join(' '), id: `t${token}` });
      span.append(piece.slice(spaceOf(piece).length));
      span.token = token;
      return span;
    });
    const blocks = [];
    let block = [];
    let length = 0;
    const endBlock = () => {
      if (block.length === 0) return;
      const element = create('div', {}, ...block);
      const lines = Math.ceil((length + 1) / 70);
      element.style.setProperty('--height', `${lines * 2}rem`);
      blocks.push(element);
      block = [];
      length = 0;
    };
    if (text.before !== '') block.push(create('span', { class: 'unscored' }, text.before));
    spans.forEach((span, token) => {
      block.push(spaceOf(text.pieces[token]), span);
      length += text.pieces[token].length;
      if (text.pieces[token].endsWith('\n')) endBlock();
    });
    endBlock();
    elements.text.replaceChildren(...blocks);
  }

  /** The space before a word, which is not coloured: at the end of a line, it would seem to be a token. */
  function spaceOf(piece) {
    return /^ (?=\S)/.exec(piece)?.[0] ?? '';
  }

  function showLegend() {
    const by = document.querySelector('[name=by]:checked').value;
    document.body.className = `by-${by}`;
    const items =
      by === 'rank'
        ? rankNames.map((name, step) => create('li', { class: `r${step}` }, name))
        : [...limits.surprisal, undefined].map((end, step) =>
            create('li', { class: `s${step}` }, rangeName(limits.surprisal[step - 1], end)),
          );
    const unit = by === 'rank' ? 'likelier tokens' : 'bits';
    elements.legend.replaceChildren(...items, create('li', { class: 'unit' }, unit));
  }

  const rankNames = [...limits.rank, undefined].map((end, step) => {
    const start = limits.rank[step - 1] ?? 0;
    if (end === undefined) return `${whole(start)}+`;
    return end - start === 1 ? `${start}` : `${start}–${end - 1}`;
  });

  function rangeName(start, end) {
    if (start === undefined) return `<${end}`;
    return end === undefined ? `${start}+` : `${start}–${end}`;
  }

  // The histogram

  function showRanks() {
    const counts = rankNames.map(() => 0);
    for (const rank of text.ranks) counts[classOf(rank, limits.rank)]++;
    const largest = Math.max(...counts, 1);
    elements.ranks.tBodies[0].replaceChildren(
      ...counts.map((count, step) => {
        const bar = create('div', { class: 'fill' });
        bar.style.width = `${(100 * count) / largest}%`;
        return create(
          'tr',
          {},
          create('th', { scope: 'row' }, rankNames[step]),
          create('td', { class: 'bars', 'aria-hidden': 'true' }, bar),
          create('td', {}, whole(count)),
          create('td', { class: 'share' }, percent(count / Math.max(text.ranks.length, 1))),
        );
      }),
    );
  }

  // The curve

  const mostBins = 120;

  function showCurve() {
    const { bits } = text;
    const size = Math.ceil(bits.length / mostBins);
    const count = Math.ceil(bits.length / Math.max(size, 1));
    const bins = Array.from({ length: count }, (_, bin) =>
      bits.slice(bin * size, (bin + 1) * size),
    );
    const means = bins.map((bin) => bin.reduce((sum, value) => sum + value, 0) / bin.length);
    const maxima = bins.map((bin) => Math.max(...bin));
    const top = Math.max(5, Math.ceil(Math.max(...maxima, 0) / 5) * 5);
    const y = (value) => (100 * (1 - value / top)).toFixed(2);
    const x = (bin) => (((bin + 0.5) * size * 1000) / bits.length).toFixed(1);
    const points = (values) => values.map((value, bin) => `${x(bin)} ${y(value)}`);
    const line = (values) => (count > 0 ? `M${points(values).join('L')}` : '');
    const ticks = [5, 10, 15, 20, 25, 30, 35].filter(
      (tick) => tick <= top && tick % (top > 20 ? 10 : 5) === 0,
    );
    elements.mean.setAttribute('d', line(means));
    elements.area.setAttribute(
      'd',
      count > 0 ? `${line(means)}L${x(count - 1)} 100L${x(0)} 100Z` : '',
    );
    elements.largest.setAttribute('d', size > 1 ? line(maxima) : '');
    elements.grid.setAttribute('d', ticks.map((tick) => `M0 ${y(tick)}H1000`).join(''));
    elements.ticks.replaceChildren(
      ...ticks.map((tick) => {
        const label = create('span', {}, `${tick}`);
        label.style.bottom = `${(100 * tick) / top}%`;
        return label;
      }),
    );
    elements['curve-note'].textContent =
      size > 1
        ? `In bits: the mean of ${whole(size)} tokens at a time, and faintly the largest of them. A click goes to the place.`
        : 'In bits, of each token. A click goes to the place.';
    elements.curve.setAttribute('aria-valuemax', bits.length);
    showPlace();
  }

  function showPlace() {
    const at = chosen === -1 ? shown : chosen;
    const x = ((at + 0.5) / spans.length) * 1000;
    elements.place.setAttribute('d', at === -1 ? '' : `M${x.toFixed(1)} 0V100`);
    elements.curve.setAttribute('aria-valuenow', at + 1);
    elements.curve.setAttribute(
      'aria-valuetext',
      at === -1 ? 'no token' : `token ${at + 1} of ${spans.length}: ${spokenOf(at)}`,
    );
  }

  function placeOf(event) {
    const { left, width } = elements.curve.getBoundingClientRect();
    return clamp(Math.floor(((event.clientX - left) / width) * spans.length));
  }

  // The details of a token

  function labelOf(token) {
    return vocabulary[text.tokens[token]];
  }

  function alternativesOf(token) {
    return Array.from({ length: topCount }, (_, place) => {
      const at = token * topCount + place;
      return { id: text.top[at], bits: text.topBits[at] };
    });
  }

  function showDetails(token) {
    if (shown === token) return;
    shown = token;
    const facts = [
      ['surprisal', `${decimal(text.bits[token], 2)} bits`],
      ['rank', whole(text.ranks[token])],
      ['probability', probabilityText(text.bits[token])],
      ['entropy', `${decimal(text.entropies[token], 2)} bits`],
    ];
    const place = create('small', {}, ` token ${whole(token + 1)} of ${whole(spans.length)}`);
    const alternatives = alternativesOf(token).map(({ id, bits }) => {
      const bar = create('div', { class: 'fill' });
      bar.style.width = `${100 * 2 ** -bits}%`;
      return create(
        'li',
        id === text.tokens[token] ? { class: 'own' } : {},
        create('span', {}, vocabulary[id]),
        create('span', {}, bar),
        create('span', {}, probabilityText(bits)),
      );
    });
    elements.details.replaceChildren(
      create('strong', {}, labelOf(token), place),
      create(
        'dl',
        {},
        ...facts.flatMap(([name, value]) => [create('dt', {}, name), create('dd', {}, value)]),
      ),
      ...(alternatives.length > 0
        ? [create('ol', { 'aria-label': 'Likeliest tokens' }, ...alternatives)]
        : []),
    );
    elements.details.hidden = false;
    placeDetails();
    showPlace();
  }

  /** Below the token, or above it where there is more room. On narrow windows the style puts them at the lower edge. */
  function placeDetails() {
    if (shown === -1) return;
    const rects = spans[shown].getClientRects();
    const { left, top, bottom } = rects[rects.length - 1] ?? spans[shown].getBoundingClientRect();
    const { offsetWidth, offsetHeight, style } = elements.details;
    const { clientWidth, clientHeight } = document.documentElement;
    const isBelow = bottom + 8 + offsetHeight < clientHeight || top < offsetHeight + 8;
    style.setProperty('--left', `${Math.max(8, Math.min(left, clientWidth - offsetWidth - 8))}px`);
    style.setProperty('--top', `${isBelow ? bottom + 8 : top - 8 - offsetHeight}px`);
  }

  function hideDetails() {
    shown = -1;
    elements.details.hidden = true;
    showPlace();
  }

  // The cursor

  function clamp(token) {
    return Math.max(0, Math.min(spans.length - 1, token));
  }

  function choose(token) {
    spans[chosen]?.classList.remove('chosen');
    chosen = token;
    const span = spans[token];
    if (!span) {
      elements.text.removeAttribute('aria-activedescendant');
      hideDetails();
      return;
    }
    span.classList.add('chosen');
    elements.text.setAttribute('aria-activedescendant', span.id);
    elements.spoken.textContent = spokenOf(token);
    showDetails(token);
  }

  /** Scrolls at once: a smooth movement would fall behind a key that is held. */
  function goTo(token, block = 'nearest') {
    if (spans.length === 0) return;
    choose(clamp(token));
    spans[chosen].scrollIntoView({ block, behavior: 'instant' });
    placeDetails();
  }

  function spokenOf(token) {
    const alternatives = alternativesOf(token)
      .map(({ id, bits }) => `${vocabulary[id]} ${probabilityText(bits)}`)
      .join(', ');
    return `${labelOf(token)}, ${decimal(text.bits[token], 1)} bits, rank ${text.ranks[token]}, probability ${probabilityText(text.bits[token])}${alternatives && `; likeliest: ${alternatives}`}`;
  }

  /** The token of the next or previous line that is nearest to the column. */
  function onNextLine(step) {
    const rectOf = (token) => {
      const rects = spans[token].getClientRects();
      return rects[step > 0 ? rects.length - 1 : 0] ?? spans[token].getBoundingClientRect();
    };
    const from = rectOf(chosen);
    column ??= (from.left + from.right) / 2;
    let best = chosen;
    let line;
    let least = Number.POSITIVE_INFINITY;
    for (let token = chosen + step; token >= 0 && token < spans.length; token += step) {
      const rect = rectOf(token);
      const distance = Math.abs((rect.left + rect.right) / 2 - column);
      if (Math.abs(rect.top - from.top) < rect.height / 2) continue;
      line ??= rect.top;
      if (Math.abs(rect.top - line) > rect.height / 2) break;
      if (distance < least) [best, least] = [token, distance];
    }
    return best;
  }

  const moves = {
    ArrowRight: () => chosen + 1,
    ArrowLeft: () => (chosen === -1 ? 0 : chosen - 1),
    ArrowDown: () => (chosen === -1 ? 0 : onNextLine(1)),
    ArrowUp: () => (chosen === -1 ? 0 : onNextLine(-1)),
    Home: () => 0,
    End: () => spans.length - 1,
  };

  const curveMoves = {
    ArrowRight: (step) => chosen + step,
    ArrowUp: (step) => chosen + step,
    ArrowLeft: (step) => chosen - step,
    ArrowDown: (step) => chosen - step,
    Home: () => 0,
    End: () => spans.length - 1,
  };

  function onMove(event, move, block) {
    if (!move || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    if (event.key !== 'ArrowUp' && event.key !== 'ArrowDown') column = undefined;
    goTo(move(Math.max(1, Math.round(spans.length / 100))), block);
  }

  elements.text.addEventListener('keydown', (event) => onMove(event, moves[event.key]));
  elements.curve.addEventListener('keydown', (event) =>
    onMove(event, curveMoves[event.key], 'center'),
  );
  elements.curve.addEventListener('click', (event) => goTo(placeOf(event), 'center'));

  elements.text.addEventListener('pointerover', ({ target, pointerType }) => {
    if (pointerType !== 'touch' && target.token !== undefined) showDetails(target.token);
  });
  elements.text.addEventListener('pointerleave', () => {
    if (chosen === -1) hideDetails();
    else showDetails(chosen);
  });
  document.addEventListener('click', ({ target }) => {
    if (elements.curve.contains(target)) return;
    column = undefined;
    choose(target.token ?? -1);
  });
  document.addEventListener('keydown', ({ key }) => {
    if (key === 'Escape') choose(-1);
  });
  document.addEventListener('scroll', placeDetails, { passive: true });
  addEventListener('resize', placeDetails);

  for (const input of document.querySelectorAll('[name=by]')) {
    input.addEventListener('change', showLegend);
  }

  // The texts

  function showTextOf(index) {
    choose(-1);
    text = data.texts[index];
    elements.name.textContent = text.name;
    showText();
    showFigures();
    showRanks();
    showCurve();
  }

  elements.choice.append(
    ...data.texts.map(({ name }, index) => create('option', { value: index }, name)),
  );
  elements.chooser.hidden = data.texts.length < 2;
  elements.choice.addEventListener('change', () => showTextOf(Number(elements.choice.value)));
  elements.model.textContent = `Scored by ${data.model}`;
  showLegend();
  showTextOf(0);
})();
