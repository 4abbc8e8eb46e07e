/** Sealing what the backend keeps for its users (AES-256-GCM): unreadable without ENCRYPTION_KEY, and unchangeable. */
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Return `text`, sealed with a key of 32 bytes given in hexadecimal. */
export function seal(text: string, hexKey: string): string {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv("aes-256-gcm", Buffer.from(hexKey, "hex"), nonce);
  const sealed = Buffer.concat([cipher.update(text, "utf8"), cipher.final()]);
  return Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString("base64url");
}

/**
 * Return what was sealed with this key.
 *
 * @throws Error it was sealed with another key, or was changed
 */
export function unseal(sealed: string, hexKey: string): string {
  const data = Buffer.from(sealed, "base64url");
  const decipher = createDecipheriv("aes-256-gcm", Buffer.from(hexKey, "hex"), data.subarray(0, NONCE_BYTES));
  decipher.setAuthTag(data.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
  return decipher.update(data.subarray(NONCE_BYTES + TAG_BYTES), undefined, "utf8") + decipher.final("utf8");
}
