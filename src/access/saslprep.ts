/**
 * SASLprep (RFC 4013), as PostgreSQL's clients and servers apply it to passwords before SCRAM: the same password typed
 * on two keyboards gives the same bytes. As in PostgreSQL, a password that SASLprep would reject is used as it is.
 */

// RFC 3454 table C.1.2, spaces other than U+0020.
const OTHER_SPACE = /[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000]/gu;
// Table B.1, commonly mapped to nothing.
const NOTHING = /\u00ad|\u034f|\u1806|[\u180b-\u180d]|\u200c|\u200d|\u2060|[\ufe00-\ufe0f]|\ufeff/gu;
// Tables C.2 to C.9 by what Unicode calls them: controls, private use, surrogates, noncharacters, unassigned, and
// the characters for plain text, canonical representation, display and tagging.
const PROHIBITED =
  /[\p{Cc}\p{Co}\p{Cs}\p{Cn}\p{Zl}\p{Zp}\u0340\u0341\u06dd\u070f\u180e\u200e\u200f\u202a-\u202e\u2061-\u2063\u206a-\u206f\u2ff0-\u2ffb\ufff9-\ufffd\u{1d173}-\u{1d17a}\u{e0001}\u{e0020}-\u{e007f}]/u;
const RIGHT_TO_LEFT = /[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}]/u;
const LEFT_TO_RIGHT = /[\p{Script=Latin}\p{Script=Greek}\p{Script=Cyrillic}\p{Script=Han}\p{Script=Hangul}]/u;

/** The bytes of a password as SCRAM hashes them. */
export function saslprep(password: string): Buffer {
  // oxlint-disable-next-line no-control-regex -- ASCII is left alone, which is what the range says
  if (/^[\x20-\x7e]*$/.test(password)) return Buffer.from(password);
  const prepared = password.replaceAll(OTHER_SPACE, ' ').replaceAll(NOTHING, '').normalize('NFKC');
  const accepted = prepared.length > 0 && !PROHIBITED.test(prepared) && hasOneDirection(prepared);
  return Buffer.from(accepted ? prepared : password);
}

// RFC 3454 §6: with any right-to-left character there is no left-to-right one, and it begins and ends with one.
function hasOneDirection(text: string): boolean {
  if (!RIGHT_TO_LEFT.test(text)) return true;
  const characters = Array.from(text);
  return (
    !LEFT_TO_RIGHT.test(text) &&
    RIGHT_TO_LEFT.test(characters[0]) &&
    RIGHT_TO_LEFT.test(characters[characters.length - 1])
  );
}
