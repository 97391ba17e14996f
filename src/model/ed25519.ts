// Which 32 bytes are a public key that proves anything. Libraries of Ed25519 take points of small
// order as well, for which anybody can make signatures, and see a broken key only when one is used.

const p = 2n ** 255n - 19n;
const d = modulo(-121_665n * power(121_666n, p - 2n));

/** Whether the bytes are a point of the curve in its one encoding, and not of small order. */
export function isPublicPoint(bytes: Uint8Array): boolean {
  if (bytes.length !== 32) return false;
  const encoded = BigInt(`0x${bytes.toReversed().toHex()}`);
  // The highest bit is the sign of x, which both signs of a square have.
  const y = encoded & (2n ** 255n - 1n);
  if (y >= p) return false;
  const yy = modulo(y * y);
  if (isOfSmallOrder(yy)) return false;
  // x² = (y² − 1) / (d·y² + 1), which is a square where the product of the two is one.
  return power(modulo((yy - 1n) * (d * yy + 1n)), (p - 1n) / 2n) === 1n;
}

/** Orders 1, 2 and 4 have y² of 1 or 0; the double of order 8 is of order 4. */
const isOfSmallOrder = (yy: bigint): boolean =>
  yy === 0n || yy === 1n || modulo(d * yy * yy + 2n * yy - 1n) === 0n;

function modulo(value: bigint): bigint {
  const rest = value % p;
  return rest < 0n ? rest + p : rest;
}

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n;
  let square = modulo(base);
  for (let left = exponent; left > 0n; left >>= 1n) {
    if ((left & 1n) === 1n) result = modulo(result * square);
    square = modulo(square * square);
  }
  return result;
}
