// Bounds of `dbx upgrade`: what a place of releases may say and send, and how long it may take. A
// part of limits.ts.

export const upgradeLimits = {
  /** How long the place of releases may stay silent, unless `--timeout` says so. */
  upgrade_silence_seconds_default: 30,
  /** Upper end of `--timeout`. */
  upgrade_silence_seconds_max: 3_600,
  /** How long one download may take in all: 60 MB at 17 KB/s. */
  upgrade_download_ms_max: 3_600_000,
  /** Redirects of one request: a renamed repository, then the place of its files. */
  upgrade_redirects_max: 5,
  /** What the place of releases may answer in JSON: a page of a hundred, each with its files. */
  upgrade_answer_bytes_max: 33_554_432,
  /** Files of one release: some for each platform, each with its checksum. */
  upgrade_assets_max: 1_000,
  /** Releases asked for at a time, as many as the place gives. */
  upgrade_page_releases: 100,
  /** Releases that `dbx upgrade list` shows at most: ten requests. */
  upgrade_listed_max: 1_000,
  /** A checksum file or a manifest of a release. */
  upgrade_checksums_bytes_max: 1_048_576,
  /** The packed executable: ten times what one has. */
  upgrade_archive_bytes_max: 536_870_912,
  /** The unpacked executable, and all that is packed with it. */
  upgrade_program_bytes_max: 1_073_741_824,
  /** How long a new executable may take to say its version, before it counts as broken. */
  upgrade_answer_ms: 60_000,
  /** What a killed upgrade left beside the executable is removed at this age at the latest. */
  upgrade_stage_ms_max: 86_400_000,
} as const;
