#!/bin/sh
# Installs dbx on Linux and macOS, without root: the file for this machine is downloaded, its
# SHA-256 is checked, it is tried, and only then is it moved to its place, whole or not at all.
# Nothing runs before the last line has arrived, so it may be piped into sh.
#
#   curl --proto '=https' --tlsv1.2 -LsSf <where it is>/eventdbx-installer.sh | sh
#   curl … | sh -s -- --to /opt/dbx/bin --no-modify-path
set -u

# A release writes its tag here, and the SHA-256 of each of its files: <64 hex> *<file>.
release_tag=''
release_checksums=''

usage() {
  cat <<'END'
Installs dbx, an event-sourced, append-only database in one executable.

Usage: eventdbx-installer.sh [flags]

  --to DIR           Where dbx goes; ~/.local/bin when missing.
  --version TAG      The release, such as v2.0.0; this script's own, or the latest one.
  --no-modify-path   Do not add the directory to PATH in files that shells read.
  --force            Replace a dbx in that place that is no EventDBX.
  --uninstall        Remove dbx from there, and what was added to PATH; data stays.
  -q, --quiet        Say only what is wrong, and what is added to PATH.
  -v, --verbose      Say also what is done in between.
  -h, --help         Show this.

Environment, where no flag is given:
  EVENTDBX_INSTALL_DIR=DIR         dbx goes to DIR/bin
  EVENTDBX_UNMANAGED_INSTALL=DIR   dbx goes to DIR, and PATH stays as it is
  EVENTDBX_NO_MODIFY_PATH=1        as --no-modify-path
  EVENTDBX_PRINT_QUIET=1, EVENTDBX_PRINT_VERBOSE=1
  EVENTDBX_DOWNLOAD_URL=URL        a folder that has the files of a release
  DBX_RELEASES_URL=URL             a releases API in place of GitHub's, as for dbx upgrade
  EVENTDBX_GITHUB_TOKEN=TOKEN      for that API, against its rate limit
END
}

project=https://github.com/thachp/eventdbx
# Behind every line that is added to a file of a shell: what --uninstall looks for.
mark='# added by the dbx installer'
# Of a download: a server that sends nothing for so long has stopped.
silence_seconds=30
stage=
child=
secret=
made=0

say() { [ "$quiet" = 1 ] || printf '%s\n' "$*" >&2; }
detail() { [ "$verbose" != 1 ] || printf '  %s\n' "$*" >&2; }
warn() { printf 'warning: %s\n' "$*" >&2; }
fail() {
  printf 'error: %s\n' "$1" >&2
  shift
  for line in "$@"; do printf '       hint:  %s\n' "$line" >&2; done
  exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }

main() {
  read_environment
  read_flags "$@"
  find_target
  if [ "$uninstall" = 1 ]; then
    uninstall_dbx
    return
  fi
  find_platform
  find_tools
  open_stage
  find_release
  get_archive
  unpack_dbx
  put_in_place
  say "dbx $installed is installed: $target/dbx"
  add_to_path
  tell_shadows
  say "Begin with: dbx start, or dbx --help"
}

read_environment() {
  quiet=${EVENTDBX_PRINT_QUIET:-${INSTALLER_PRINT_QUIET:-0}}
  verbose=${EVENTDBX_PRINT_VERBOSE:-${INSTALLER_PRINT_VERBOSE:-0}}
  keep_path=${EVENTDBX_NO_MODIFY_PATH:-${INSTALLER_NO_MODIFY_PATH:-0}}
  folder=${EVENTDBX_DOWNLOAD_URL:-${INSTALLER_DOWNLOAD_URL:-}}
  api=${DBX_RELEASES_URL:-}
  token=${EVENTDBX_GITHUB_TOKEN:-}
  wanted=
  to=
  force=0
  uninstall=0
}

read_flags() {
  while [ $# -gt 0 ]; do
    case $1 in
    --to | --version)
      if [ $# -lt 2 ] || [ -z "$2" ]; then wrong_usage "$1 needs a value"; fi
      if [ "$1" = --to ]; then to=$2; else wanted=$2; fi
      shift
      ;;
    --to=?*) to=${1#*=} ;;
    --version=?*) wanted=${1#*=} ;;
    --no-modify-path) keep_path=1 ;;
    --force) force=1 ;;
    --uninstall) uninstall=1 ;;
    -q | --quiet) quiet=1 ;;
    -v | --verbose) verbose=1 ;;
    -h | --help)
      usage
      exit 0
      ;;
    *) wrong_usage "unknown flag $1" ;;
    esac
    shift
  done
}

wrong_usage() {
  printf 'error: %s\n       hint:  --help shows what there is\n' "$1" >&2
  exit 2
}

find_target() {
  if [ -n "$to" ]; then
    target=$to
  elif [ -n "${EVENTDBX_INSTALL_DIR:-}" ]; then
    target=$EVENTDBX_INSTALL_DIR/bin
  elif [ -n "${EVENTDBX_UNMANAGED_INSTALL:-}" ]; then
    target=$EVENTDBX_UNMANAGED_INSTALL
    keep_path=1
  elif [ -n "${HOME:-}" ]; then
    target=$HOME/.local/bin
  else
    fail "there is no home directory (HOME is not set) to install into" "--to DIR says where"
  fi
  # Also after a change of directory, and as a name that begins with a dash.
  case $target in /*) ;; *) target=$(pwd -P)/$target ;; esac
  while [ "$target" != "${target%/}" ] && [ "$target" != / ]; do target=${target%/}; done
}

# The name by which releases call this machine.
find_platform() {
  system=$(uname -s)
  machine=$(uname -m)
  case $system in
  Linux) os=linux ;;
  Darwin)
    os=darwin
    # A shell that is translated takes an Apple processor for one of Intel.
    if [ "$(sysctl -n hw.optional.arm64 2>/dev/null || :)" = 1 ]; then machine=arm64; fi
    ;;
  MINGW* | MSYS* | CYGWIN*)
    fail "this is Windows, for which there is another script" \
      "powershell -ExecutionPolicy Bypass -c \"irm <where it is>/eventdbx-installer.ps1 | iex\""
    ;;
  *) fail "there is no dbx for $system" "it can be run from its source: README.md, Contributing" ;;
  esac
  case $machine in
  x86_64 | amd64 | x64) arch=x86_64 ;;
  aarch64 | arm64 | armv8*) arch=aarch64 ;;
  *) fail "there is no dbx for the processor $machine; there is one for x86_64 and for arm64" ;;
  esac
  if [ "$(getconf LONG_BIT 2>/dev/null || :)" = 32 ]; then
    fail "the system on this $machine is one of 32 bits, for which there is no dbx"
  fi
  case $os in
  darwin) triple=$arch-apple-darwin ;;
  linux) triple=$arch-unknown-linux-$(libc) ;;
  esac
  detail "this machine is $triple"
}

libc() {
  if getconf GNU_LIBC_VERSION >/dev/null 2>&1; then
    printf gnu
    return
  fi
  # musl has no such name, and its ldd tells itself.
  case $(ldd --version 2>&1 || :) in *musl*) printf musl && return ;; esac
  # Without either program: whose loader is here. That of musl may be a guest beside glibc's.
  for each in /lib64/ld-linux-*.so.* /lib/ld-linux-*.so.*; do
    if [ -e "$each" ]; then printf gnu && return; fi
  done
  for each in /lib/ld-musl-*.so.1; do
    if [ -e "$each" ]; then printf musl && return; fi
  done
  printf gnu
}

find_tools() {
  for tool in mktemp tar sed grep chmod mkdir mv rm; do
    has "$tool" || fail "$tool is missing, which this script needs"
  done
  loader=
  if has curl; then
    # As a snap it may not write to where hidden files are.
    case $(command -v curl) in /snap/*) ;; *) loader=curl ;; esac
  fi
  if [ -z "$loader" ] && has wget; then loader=wget; fi
  [ -n "$loader" ] || fail "neither curl nor wget is here to download with" "install one of them"
  hasher=
  for tool in sha256sum shasum openssl busybox; do
    if [ -z "$hasher" ] && has "$tool"; then hasher=$tool; fi
  done
  [ -n "$hasher" ] ||
    fail "nothing is here to check a SHA-256 with, and unchecked files are not installed" \
      "install sha256sum (coreutils), shasum or openssl"
  formats=
  if has xz; then formats=tar.xz; fi
  if has gzip; then formats="$formats tar.gz"; fi
  [ -n "$formats" ] || fail "neither xz nor gzip is here to unpack with" "install one of them"
  detail "loading with $loader, checking with $hasher"
}

sha256_of() {
  case $hasher in
  sha256sum) sha256sum <"$1" ;;
  shasum) shasum -a 256 <"$1" ;;
  openssl) openssl dgst -sha256 -r <"$1" ;;
  busybox) busybox sha256sum <"$1" ;;
  esac | sed 's/^\([0-9a-fA-F]*\).*/\1/'
}

# Beside the place of dbx, so that the last step is a rename on one file system. What a killed run
# has left there is removed; a run that is at work is left alone.
open_stage() {
  if [ ! -e "$target" ]; then made=1; fi
  mkdir -p "$target" 2>/dev/null || fail "$target cannot be made" "--to DIR names another place"
  if [ ! -w "$target" ] || [ -d "$target/dbx" ]; then
    fail "$target/dbx cannot be written" "--to DIR names another place"
  fi
  for left in "$target"/.dbx-install.*; do
    owner=$(cat "$left/owner" 2>/dev/null || :)
    if [ -n "$owner" ] && ! kill -0 "$owner" 2>/dev/null; then rm -rf "$left"; fi
  done
  trap close_stage EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  stage=$(mktemp -d "$target/.dbx-install.XXXXXX") ||
    fail "nothing can be written to $target" "--to DIR names another place"
  echo $$ >"$stage/owner"
}

# shellcheck disable=SC2317 # The trap calls it.
close_stage() {
  if [ -n "$child" ]; then kill "$child" 2>/dev/null; fi
  if [ -n "$stage" ]; then rm -rf "$stage"; fi
  # Only where it is empty: nothing was installed then.
  if [ "$made" = 1 ]; then rmdir "$target" 2>/dev/null; fi
}

# In the background and waited for, so that a signal need not wait for it to end.
run() {
  "$@" </dev/null &
  child=$!
  wait "$child"
  code=$?
  child=
  return "$code"
}

# In: a URL and the file it goes to. Sets status to what the server answered; 000 for nothing.
fetch() {
  detail "asking for $1"
  : >"$stage/headers"
  : >"$stage/words"
  case $1 in
  https://*) ;;
  http://*) [ "$plain" = 1 ] || fail "$1 is not encrypted, and nobody said that it may be so" ;;
  *) fail "$1 is no URL of a server" ;;
  esac
  case $loader in
  curl) fetch_by_curl "$@" ;;
  wget) fetch_by_wget "$@" ;;
  esac
  code=$?
  status=$(sed -n 's/.*HTTP\/[0-9.]* \([0-9][0-9][0-9]\).*/\1/p' "$stage/headers" | tail -n 1)
  status=${status:-000}
  [ "$code" = 0 ] && [ "$status" = 200 ]
}

fetch_by_curl() {
  shown=--silent
  case $2 in *.tar.*) if [ -t 2 ] && [ "$quiet" != 1 ]; then shown=--progress-bar; fi ;; esac
  # Over TLS and nothing else, wherever it leads; without it only where somebody said so.
  case $1 in
  http://*) set -- "$@" --proto '=http,https' ;;
  *) set -- "$@" --proto '=https' --tlsv1.2 ;;
  esac
  if [ -n "$secret" ]; then set -- "$@" --config "$stage/secret" --max-redirs 0; fi
  from=$1
  into=$2
  shift 2
  set -- "$@" "$shown" --show-error --location --output "$into" --dump-header "$stage/headers" \
    --connect-timeout "$silence_seconds" --speed-limit 1 --speed-time "$silence_seconds" "$from"
  if [ "$shown" = --silent ]; then run curl "$@" 2>"$stage/words"; else run curl "$@"; fi
}

# The one of GNU, or that of busybox, which knows less; some of them crash where they are given -T.
fetch_by_wget() {
  set -- -S -O "$2" "$1"
  if wget --version 2>/dev/null | grep -q GNU; then
    set -- --no-verbose --tries=1 --timeout="$silence_seconds" "$@"
    if [ -n "$secret" ]; then set -- --config="$stage/secret" --max-redirect=0 "$@"; fi
  elif [ -n "$secret" ]; then
    warn "this wget would show EVENTDBX_GITHUB_TOKEN to others on this machine; asking without it"
  fi
  run wget "$@" 2>"$stage/words"
  ended=$?
  cp "$stage/words" "$stage/headers"
  return "$ended"
}

# Why the last download failed, in one line.
trouble() {
  # curl goes on about what can be done.
  said=$(grep '^curl: ' "$stage/words" | head -n 1)
  said=${said:-$(tail -n 1 "$stage/words")}
  case $status in
  200) printf 'not all of it came, or had room: %s' "${said:-it was ended}" ;;
  000) printf 'no answer: %s' "$said" ;;
  3??) printf 'the server answered %s, and that is not followed: %s' "$status" "$said" ;;
  *) printf 'the server answered %s' "$status" ;;
  esac
}

# Where files are: their folder, or the list of a releases API. Sets tag, and folder or list.
find_release() {
  list=
  case $wanted in
  '') tag=$release_tag ;;
  latest) tag= ;;
  v*) tag=$wanted ;;
  *) tag=v$wanted ;;
  esac
  case $tag in *[!A-Za-z0-9.+_-]*) fail "$tag is no name of a release" ;; esac
  if [ "$tag" != "$release_tag" ]; then release_checksums=; fi
  take_plain "${folder:-$api}"
  if [ -n "$folder" ]; then
    folder=${folder%/}
  elif [ -n "$api" ]; then
    ask_api
  elif [ -n "$tag" ]; then
    folder=$project/releases/download/$tag
  else
    folder=$project/releases/latest/download
  fi
}

# Without TLS only where the place itself was named so; what it leads to may not decide that.
take_plain() {
  plain=0
  case $1 in http://*) plain=1 ;; *) return 0 ;; esac
  if [ -z "$release_checksums" ] && ! is_here "$1"; then
    warn "over http:// whoever is on the way can exchange a file together with its checksum"
  fi
}

# Whether the server of a URL is this machine.
is_here() {
  host=${1#*://}
  host=${host%%/*}
  host=${host##*@}
  case $host in '[::1]' | '[::1]:'*) return 0 ;; esac
  case ${host%:*} in
  localhost) return 0 ;;
  *[!0-9.]*) return 1 ;;
  127.*) return 0 ;;
  *) return 1 ;;
  esac
}

ask_api() {
  list=$stage/release.json
  place=${api%/}/latest
  if [ -n "$tag" ]; then place=${api%/}/tags/$tag; fi
  use_token
  if ! fetch "$place" "$list"; then
    case $status in
    403 | 429) fail "the releases API refuses to answer ($status): $(rate_limit)" \
      "EVENTDBX_GITHUB_TOKEN=<token> raises the limit; EVENTDBX_DOWNLOAD_URL=<url> needs no API" ;;
    404) fail "there is no release ${tag:-yet} at $api" ;;
    *) fail "$place: $(trouble)" "DBX_RELEASES_URL says where releases are" ;;
    esac
  fi
  secret=
  found=$(tr ',{}' '[\n*]' <"$list" |
    sed -n 's/.*"tag_name" *: *"\([^"]*\)".*/\1/p' | head -n 1)
  [ -n "$found" ] || fail "$place does not answer as a releases API does"
  if [ "$found" != "$release_tag" ]; then release_checksums=; fi
  tag=$found
}

# In a file of its own, because everybody may read the arguments of a process.
use_token() {
  secret=
  [ -n "$token" ] || return 0
  if [ "$plain" = 1 ] && ! is_here "$api"; then
    warn "EVENTDBX_GITHUB_TOKEN is not sent over http:// to another machine"
    return
  fi
  case $token in *[!A-Za-z0-9._~+/=-]*) fail "EVENTDBX_GITHUB_TOKEN is no token" ;; esac
  (umask 077 && printf 'header = "Authorization: Bearer %s"\n' "$token" >"$stage/secret")
  if [ "$loader" = wget ]; then
    sed 's/"//g' "$stage/secret" >"$stage/wgetrc" && mv "$stage/wgetrc" "$stage/secret"
  fi
  secret=1
}

rate_limit() {
  after=$(header retry-after)
  reset=$(header x-ratelimit-reset)
  if [ -z "$after" ] && [ -n "$reset" ]; then after=$((reset - $(date +%s))); fi
  if [ -n "$after" ]; then
    printf 'too many requests; again in %s s' "$after"
  else
    printf 'too many requests, or none allowed'
  fi
}
header() {
  tr -d '\r' <"$stage/headers" |
    sed -n "s/^ *$1: *\([0-9][0-9]*\) *\$/\1/p" | tail -n 1
}

# In: the name of a file of the release. Prints its URL; nothing where the list does not have it.
url_of() {
  if [ -z "$list" ]; then
    printf '%s/%s' "$folder" "$1"
    return
  fi
  tr ',{}' '[\n*]' <"$list" |
    sed -n 's/.*"browser_download_url" *: *"\([^"]*\)".*/\1/p' | grep "/$1\$" | head -n 1
}

# Sets archive and format: the best there is that can be unpacked here, with the right SHA-256.
get_archive() {
  archive=
  for format in $formats; do
    name=eventdbx-$triple.$format
    url=$(url_of "$name")
    if [ -z "$url" ]; then continue; fi
    say "downloading $url"
    if fetch "$url" "$stage/$name"; then
      archive=$stage/$name
      break
    fi
    [ "$status" = 404 ] || fail "$url: $(trouble)" "nothing was installed; run this again"
  done
  [ -n "$archive" ] || fail "the release ${tag:-that is the latest} has no file for $triple" \
    "see what there is: $project/releases"
  find_sum
  [ -n "$expected" ] || fail "there is no checksum for $name, so it is not installed"
  actual=$(sha256_of "$archive")
  if [ "$actual" != "$expected" ]; then
    fail "checksum mismatch: $name has the SHA-256 $actual, and should have $expected" \
      "nothing was installed; run this again, and if it stays so, do not trust that place"
  fi
  detail "its SHA-256 is $actual, as it should be"
}

# From the script itself where a release stamped it, else from the file beside the archive.
find_sum() {
  expected=
  if [ -n "$release_checksums" ]; then
    printf '%s\n' "$release_checksums" >"$stage/sum"
  else
    url=$(url_of "$name.sha256")
    if [ -z "$url" ] || ! fetch "$url" "$stage/sum"; then return; fi
  fi
  expected=$(sed -n "s/^\([0-9a-f]\{64\}\) [ *]$name\$/\1/p" "$stage/sum" | head -n 1)
}

# One member goes to one file: whatever else the archive names is not made.
unpack_dbx() {
  case $format in
  tar.xz) run xz -dc "$archive" >"$stage/archive.tar" ;;
  tar.gz) run gzip -dc "$archive" >"$stage/archive.tar" ;;
  esac || fail "$name cannot be unpacked: it is damaged, or the disk is full"
  rm -f "$archive"
  run tar -xOf "$stage/archive.tar" "eventdbx-$triple/dbx" >"$stage/dbx" ||
    fail "$name has no dbx inside, or the disk is full"
  rm -f "$stage/archive.tar"
  chmod 755 "$stage/dbx"
  installed=$(version_of "$stage/dbx") || {
    ended=$?
    said=$(head -n 1 "$stage/words")
    said=${said:-exit $ended}
    fail "the downloaded dbx does not run on this machine: $said" "$(why_not "$ended")"
  }
}

# Prints the version of what the path names; fails where that is no EventDBX, as it did.
version_of() {
  words=/dev/null
  if [ -n "$stage" ]; then words=$stage/words; fi
  answer=$("$1" --version </dev/null 2>"$words") || return
  case $answer in
  'dbx '[0-9]* | 'eventdbx '[0-9]*) printf '%s' "${answer#* }" ;;
  *) return 1 ;;
  esac
}

# In: how it ended. Prints what may be the reason.
why_not() {
  case $1-$triple in
  # By SIGILL.
  132-*) printf 'its processor is older than those it is made for: x64 needs SSE 4.2' ;;
  *musl) printf 'it needs the C++ library: apk add libstdc++ libgcc' ;;
  *linux-gnu) printf 'it needs glibc, and a directory from which programs may run (no noexec)' ;;
  *) printf 'see what it says: README.md, Contributing, tells how to run it from its source' ;;
  esac
}

put_in_place() {
  before=
  if [ -e "$target/dbx" ] || [ -h "$target/dbx" ]; then
    if before=$(version_of "$target/dbx"); then
      detail "replacing dbx $before"
    elif [ "$force" != 1 ]; then
      fail "$target/dbx is something else than EventDBX, or is damaged" \
        "--force replaces it; --to DIR names another place"
    fi
  fi
  # On the disk before it has its name: a power cut must not leave an empty file there.
  sync "$stage/dbx" 2>/dev/null || sync
  mv -f "$stage/dbx" "$target/dbx" || fail "$target/dbx cannot be replaced"
}

# Another dbx that comes first on PATH would be the one that runs.
tell_shadows() {
  own=$(cd "$target" && pwd -P)
  seen=0
  saved=$IFS
  set -f
  IFS=:
  for each in $PATH; do
    IFS=$saved
    real=$(cd "${each:-.}" 2>/dev/null && pwd -P) || continue
    if [ "$real" = "$own" ]; then
      seen=1
    elif [ -f "$real/dbx" ] && [ -x "$real/dbx" ]; then
      if [ "$seen" = 1 ]; then
        detail "there is another one, behind it on PATH: $real/dbx"
      else
        warn "in this shell dbx is another one, which comes first on PATH: $real/dbx"
      fi
    fi
  done
  IFS=$saved
  set +f
}

add_to_path() {
  if [ -n "${GITHUB_PATH:-}" ]; then printf '%s\n' "$target" >>"$GITHUB_PATH"; fi
  case ":$PATH:" in *":$target:"*) return ;; esac
  if [ "$keep_path" = 1 ] || [ -z "${HOME:-}" ]; then
    say "$target is not on PATH, and was not added."
    return
  fi
  case $target in
  *:* | *'
'*)
    warn "$target cannot be on PATH, because of its name"
    return
    ;;
  esac
  path_files | while IFS= read -r file; do add_line "$file"; done
  say "A new shell finds dbx; for this one: export PATH=\"$target:\$PATH\""
}

# Where the person's shell looks, one file a line.
path_files() {
  case ${SHELL:-} in
  */zsh) printf '%s\n' "${ZDOTDIR:-$HOME}/.zshrc" ;;
  */fish) printf '%s\n' "$(fish_file)" ;;
  */bash)
    if [ -e "$HOME/.bashrc" ]; then printf '%s\n' "$HOME/.bashrc"; fi
    for name in .bash_profile .bash_login; do
      if [ -e "$HOME/$name" ]; then printf '%s\n' "$HOME/$name" && return; fi
    done
    printf '%s\n' "$HOME/.profile"
    ;;
  *) printf '%s\n' "$HOME/.profile" ;;
  esac
}
fish_file() { printf '%s' "${XDG_CONFIG_HOME:-$HOME/.config}/fish/conf.d/dbx.fish"; }

# The line for the file: it adds the directory where it is not on PATH yet.
path_line() {
  place=$(printf '%s' "$target" | sed 's/[\\"$`]/\\&/g')
  # shellcheck disable=SC2016 # The shell that reads the line fills in what it names.
  case $1 in
  *.fish) printf 'contains "%s" $PATH; or set -gx PATH "%s" $PATH %s' "$place" "$place" "$mark" ;;
  *) printf 'case ":$PATH:" in *":%s:"*) ;; *) export PATH="%s:$PATH" ;; esac %s' \
    "$place" "$place" "$mark" ;;
  esac
}

add_line() {
  line=$(path_line "$1")
  if grep -qxF -e "$line" "$1" 2>/dev/null; then
    detail "$1 has it on PATH already"
    return
  fi
  # Also where quiet was asked for: nobody's files are changed in silence.
  printf '%s\n' "Adding $target to PATH: the file $1 gets the line" "  $line" \
    "To undo that, remove the line, or run this script with --uninstall." >&2
  mkdir -p "${1%/*}"
  # A last line without its end would swallow this one.
  if [ -s "$1" ] && [ -n "$(tail -c 1 "$1")" ]; then printf '\n' >>"$1"; fi
  printf '%s\n' "$line" >>"$1" || warn "$1 cannot be written; PATH stays as it is"
}

uninstall_dbx() {
  if [ -e "$target/dbx" ] || [ -h "$target/dbx" ]; then
    if ! version_of "$target/dbx" >/dev/null && [ "$force" != 1 ]; then
      fail "$target/dbx is something else than EventDBX" "--force removes it all the same"
    fi
    if EVENTDBX_URL='' "$target/dbx" status >/dev/null 2>&1 </dev/null; then
      fail "a server of dbx is running" "stop it first: $target/dbx stop"
    fi
    rm -f "$target/dbx" || fail "$target/dbx cannot be removed"
    say "removed $target/dbx"
  else
    say "there is no $target/dbx"
  fi
  [ -n "${HOME:-}" ] || return 0
  zsh=${ZDOTDIR:-$HOME}
  for file in "$HOME/.profile" "$HOME/.bashrc" "$HOME/.bash_profile" "$HOME/.bash_login" \
    "$zsh/.zshrc" "$(fish_file)"; do
    if grep -qxF -e "$(path_line "$file")" "$file" 2>/dev/null; then remove_line "$file"; fi
  done
  say "Data and configuration are still there: ${HOME}/.eventdbx, unless you named other places."
}

# Replaced as a whole, with its mode, and behind the link where it is one.
remove_line() {
  file=$1
  while [ -h "$file" ]; do
    link=$(readlink "$file")
    case $link in /*) file=$link ;; *) file=${file%/*}/$link ;; esac
  done
  cp -p "$file" "$file.dbx-$$" || return 0
  grep -vxF -e "$(path_line "$1")" "$file" >"$file.dbx-$$" || :
  if [ -s "$file.dbx-$$" ] || [ "${file%.fish}" = "$file" ]; then
    mv -f "$file.dbx-$$" "$file"
  else
    rm -f "$file.dbx-$$" "$file"
  fi
  say "removed the line for PATH from $1"
}

# As a whole or not at all: a script that was cut on its way ends before this brace.
{ main "$@"; exit $?; }
