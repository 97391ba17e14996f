// Statements on what seals the main file: data keys, and the row that says whether it is encrypted.

export const readSealing = `SELECT dek, pending, before, after FROM sealing WHERE one = 1`;

export const insertSealing = `INSERT INTO sealing (one, dek, pending) VALUES (1, ?, ?)`;

/** By stream; 0 is the vault. */
export const readDataKey = `SELECT dek, wrapped FROM data_key WHERE stream_id = ?`;

export const insertDataKey = `INSERT INTO data_key (stream_id, dek, wrapped) VALUES (?, ?, ?)`;

export const deleteDataKey = `DELETE FROM data_key WHERE stream_id = ?`;

export const insertSealedBody = `INSERT INTO sealed_body (position, sealed) VALUES (?, ?)`;

/** The parameter is a JSON array of positions. */
export const deleteSealedBodies = `
  DELETE FROM sealed_body WHERE position IN (SELECT value FROM json_each(?))`;

/** Up to which version a stream is erased, whatever a row said that was read before. */
export const readErased = `SELECT erased FROM stream WHERE stream_id = ?`;

export const readStreamKey = `
  SELECT aggregate_type, aggregate_id, version, erased FROM stream WHERE stream_id = ?`;

/** Whether anything was ever written. */
export const anyStream = `SELECT EXISTS (SELECT 1 FROM stream) AS found`;
