import { describe, expect, it } from 'vitest';
import { saslprep } from './saslprep.ts';

describe('SASLprep', () => {
  it.each([
    // RFC 4013 §3
    ['a soft hyphen goes', 'I\u00adX', 'IX'],
    ['nothing to do', 'user', 'user'],
    ['case stays', 'USER', 'USER'],
    ['NFKC of ª', '\u00aa', 'a'],
    ['NFKC of Ⅸ', '\u2168', 'IX'],
    // RFC 3454, table by table
    ['other spaces become spaces', 'a\u00a0b\u3000c\u200bd', 'a b c d'],
    ['variation selectors, joiners and the byte order mark go', 'a\ufe0f\u200d\ufeff\u2060b', 'ab'],
    ['right to left', '\u0627\u0644', '\u0627\u0644'],
    ['right to left around digits', '\u06271\u0628', '\u06271\u0628'],
    ['beyond the basic plane', '\u{1d400}', 'A'],
  ])('%s', (_, password, prepared) => {
    expect(saslprep(password)).toBe(prepared);
  });

  it.each([
    ['a control character beyond ASCII', '\u00aa\u0080'],
    ['right to left that ends otherwise (RFC 4013 §3)', '\u06271'],
    ['both directions', '\u0627a\u0628'],
    ['a private character', '\u00aa\ue000'],
    ['a non-character', '\u00aa\ufffe'],
    ['a lone surrogate', '\u00aa\ud800'],
    ['plain text only (ef bf bd)', '\u00aa\ufffd'],
    ['unassigned in Unicode 3.2', '\u00aa\u0221'],
    ['an emoji, unassigned in Unicode 3.2', '\u00aa\u{1f600}'],
    ['the last unassigned code point', '\u00aa\u{e0fff}'],
    ['nothing left', '\u00ad'],
  ])('is left as it is: %s', (_, password) => {
    expect(saslprep(password)).toBe(password);
  });

  it('ASCII is never touched, controls included', () => {
    const ascii = Array.from({ length: 128 }, (_, code) => String.fromCharCode(code)).join('');
    expect(saslprep(ascii)).toBe(ascii);
  });
});
