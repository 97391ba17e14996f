// Statements of what is sealed later, of keys that are wrapped anew and of what is erased.

/** Positions whose bodies are in clear. */
export const readPlainBodies = `
  SELECT position FROM body WHERE position > ? ORDER BY position LIMIT ?`;

export const readPlainStreams = `
  SELECT stream_id FROM stream WHERE stream_id > ? AND sealed IS NULL ORDER BY stream_id LIMIT ?`;

export const readPlainSnapshots = `
  SELECT stream_id, version FROM snapshot
  WHERE (stream_id, version) > (?, ?) AND sealed IS NULL ORDER BY stream_id, version LIMIT ?`;

export const readPlainBody = `
  SELECT body.salt, body.note, body.payload, event.stream_id, event.version, stream.aggregate_type,
    stream.aggregate_id
  FROM body JOIN event ON event.position = body.position
    JOIN stream ON stream.stream_id = event.stream_id
  WHERE body.position = ?`;

export const deletePlainBody = `DELETE FROM body WHERE position = ?`;

export const readPlainState = `
  SELECT stream_id, aggregate_type, aggregate_id, version, state
  FROM stream WHERE stream_id = ? AND sealed IS NULL`;

export const sealState = `UPDATE stream SET state = '', sealed = ? WHERE stream_id = ?`;

export const readPlainSnapshot = `
  SELECT snapshot.stream_id, stream.aggregate_type, stream.aggregate_id, snapshot.version,
    snapshot.state
  FROM snapshot JOIN stream ON stream.stream_id = snapshot.stream_id
  WHERE snapshot.stream_id = ? AND snapshot.version = ? AND snapshot.sealed IS NULL`;

export const sealSnapshot = `
  UPDATE snapshot SET state = '', sealed = ? WHERE stream_id = ? AND version = ?`;

/** Nothing is in clear any more. The condition: nobody says so who does not know. */
export const endSealing = `
  UPDATE sealing SET pending = NULL WHERE one = 1 AND pending = 'encrypt'
    AND NOT EXISTS (SELECT 1 FROM body)
    AND NOT EXISTS (SELECT 1 FROM stream WHERE sealed IS NULL)
    AND NOT EXISTS (SELECT 1 FROM snapshot WHERE sealed IS NULL)`;

export const beginRotation = `
  UPDATE sealing SET dek = dek + 1, pending = 'rotate', before = ?, after = ?
  WHERE one = 1 AND dek = ? AND pending IS NULL`;

export const endRotation = `
  UPDATE sealing SET pending = NULL, before = NULL, after = NULL
  WHERE one = 1 AND pending = 'rotate'
    AND NOT EXISTS (SELECT 1 FROM data_key WHERE dek <> sealing.dek)`;

export const readKeysBefore = `
  SELECT stream_id FROM data_key
  WHERE dek < (SELECT dek FROM sealing) ORDER BY stream_id LIMIT ?`;

export const updateDataKey = `UPDATE data_key SET dek = ?, wrapped = ? WHERE stream_id = ?`;

export const countDataKeys = `SELECT count(*) AS count FROM data_key`;

/** What nobody can read any more. */
export const deleteErasedSnapshots = `
  DELETE FROM snapshot WHERE stream_id = ?1
    AND version <= (SELECT erased FROM stream WHERE stream_id = ?1)`;

export const vacuum = `VACUUM`;
