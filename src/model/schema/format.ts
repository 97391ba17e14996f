// The formats a text column may be held to. Each is a small function; none asks anybody whether the
// address, the site or the card exists.

const checks = { email: isEmail, url: isUrl, credit_card: isCreditCard } as const;
export type Format = keyof typeof checks;

export const formats: readonly Format[] = ["email", "url", "credit_card"];
export const isFormat = (word: unknown): word is Format => formats.some((name) => name === word);

const nouns: Readonly<Record<Format, string>> = {
  email: "email address",
  url: "URL",
  credit_card: "credit card number",
};

/** What is wrong with the text, in words that follow the field's name; null if nothing. */
export const formatFault = (format: Format, text: string): string | null =>
  checks[format](text) ? null : `must be a valid ${nouns[format]}`;

const local = /^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}$/;
const domainName =
  /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/i;
const domain_chars_max = 255;

/**
 * As browsers check it (HTML Living Standard, "valid e-mail address"), and also domains in brackets
 * and in other scripts.
 */
function isEmail(text: string): boolean {
  const at = text.lastIndexOf("@");
  const domain = text.slice(at + 1);
  if (at < 0 || domain.length > domain_chars_max || !local.test(text.slice(0, at))) return false;
  if (domain.startsWith("[")) return isAddressLiteral(domain);
  return domainName.test(isAscii(domain) ? domain : asciiOf(domain));
}

const octet = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
const ipv4 = new RegExp(`^\\[${octet}(?:\\.${octet}){3}\\]$`);

const isAddressLiteral = (domain: string): boolean =>
  ipv4.test(domain) ||
  (/^\[[0-9a-f:.]*:[0-9a-f:.]*\]$/i.test(domain) && URL.canParse(`http://${domain}`));

const isAscii = (text: string): boolean => !/[^\u0000-\u007f]/.test(text);

/** A domain in another script as the name system knows it (UTS #46); empty where there is none. */
function asciiOf(domain: string): string {
  // These would end the host of the URL, or are dropped from it.
  if (/[\s\u0000-\u0020/\\?#@:%[\]]/.test(domain)) return "";
  return URL.parse(`http://${domain}`)?.hostname ?? "";
}

/** An absolute URL (WHATWG URL Standard). */
function isUrl(text: string): boolean {
  return URL.canParse(text);
}

/** By prefix, the first that fits; then how many digits such cards have. */
const brands: readonly [prefix: RegExp, least: number, most: number][] = [
  // Visa Electron
  [/^4(?:026|17500|405|508|844|91[37])/, 16, 16],
  // Maestro
  [/^(?:5(?:018|0[23]|[68])|6(?:39|7))/, 12, 19],
  // Forbrugsforeningen
  [/^600/, 16, 16],
  // Dankort
  [/^5019/, 16, 16],
  // Visa
  [/^4/, 13, 16],
  // MIR
  [/^220[0-4]/, 16, 19],
  // MasterCard
  [/^(?:5[1-5]|2[2-7])/, 16, 16],
  // American Express
  [/^3[47]/, 15, 15],
  // Diners Club
  [/^3[0689]/, 14, 14],
  // Discover
  [/^6(?:[045]|22)/, 16, 16],
  // UnionPay
  [/^(?:62|88)/, 16, 19],
  // JCB
  [/^35/, 16, 16],
];

function isCreditCard(text: string): boolean {
  if (!/^\d{12,19}$/.test(text)) return false;
  const brand = brands.find(([prefix]) => prefix.test(text));
  if (brand === undefined) return false;
  const [, least, most] = brand;
  return text.length >= least && text.length <= most && passesLuhn(text);
}

/** The check digit of ISO/IEC 7812-1, annex B. */
function passesLuhn(digits: string): boolean {
  let sum = 0;
  for (let index = 0; index < digits.length; index++) {
    const digit = Number(digits[digits.length - 1 - index]);
    const doubled = index % 2 === 0 ? digit : digit * 2;
    sum += doubled > 9 ? doubled - 9 : doubled;
  }
  return sum % 10 === 0;
}
