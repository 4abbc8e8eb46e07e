# What the project's shell scripts share: where things are kept, how they talk, how they use the machine's own apt.
# shellcheck shell=bash

PROGRAM=${0##*/}
# shellcheck disable=SC2034  # read by the scripts that source this file
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s: %s\n' "$PROGRAM" "$*" >&2; }
# The world is not as it must be; the caller may fix it and try again.
die() {
  say "error: $1"
  shift
  local hint
  for hint in "$@"; do say "hint: $hint"; done
  exit 111
}
has() { command -v "$1" >/dev/null 2>&1; }

# Where things are kept: programs that root runs are among them, so never where others can write.
cache_folder() {
  local home=${HOME:-}
  if [ -z "${XDG_CACHE_HOME:-}" ]; then
    [ -n "$home" ] || home=$(getent passwd "$(id -u)" 2>/dev/null | cut -d : -f 6)
    [ -n "$home" ] || die "there is no home folder to keep things in" "set XDG_CACHE_HOME to a folder of your own"
  fi
  printf '%s/docker-secrets-shim\n' "${XDG_CACHE_HOME:-$home/.cache}"
}

# Whether a file or a folder is this user's or root's, and nobody else can write to it. Where it is a link, both are.
is_trusted() { # PATH
  [ ! -L "$1" ] || is_own "$1" || return 1
  [ -n "$(find -L "$1" -maxdepth 0 \( -user "$(id -u)" -o -user 0 \) ! -perm -0020 ! -perm -0002 ! -type l 2>/dev/null)" ]
}
is_own() { [ -n "$(find -P "$1" -maxdepth 0 \( -user "$(id -u)" -o -user 0 \))" ]; } # PATH, not what it leads to

# Refuse what somebody else could have put there.
trust() { # PATH...
  local path
  for path in "$@"; do
    if [ -L "$path" ] && [ ! -e "$path" ]; then die "$path is a link to nothing" "remove it: it is made again"; fi
    is_trusted "$path" || die "$path belongs to someone else, or others can write to it" \
      "look at it, and remove it: it is made again"
  done
}

# Make the folder; who was quicker is noticed.
make_cache() {
  (umask 022 && mkdir -p "$CACHE" 2>/dev/null) || [ -L "$CACHE" ] || [ -d "$CACHE" ] ||
    die "cannot make the folder $CACHE" "set XDG_CACHE_HOME to a folder of your own"
  trust "$CACHE"
}

CACHE=$(cache_folder) || exit
if [ -e "$CACHE" ] || [ -L "$CACHE" ]; then
  is_trusted "$CACHE" || { is_own "$CACHE" && chmod go-w "$CACHE"; } 2>/dev/null || true # an older release left it to the umask
  trust "$CACHE"
fi

# Debian's packages can be installed here. Derivatives differ in suites and names: they count as "not Debian".
is_debian() { has apt-get && [ "$(. /etc/os-release 2>/dev/null && printf %s "${ID:-}")" = debian ]; }
is_debian_root() { [ "$(id -u)" = 0 ] && is_debian; }

# Packages can be installed here: on Debian, and on what is made from it (Ubuntu), where some have other names.
is_apt_root() { [ "$(id -u)" = 0 ] && has apt-get && has dpkg-query; }

suite_here() { (. /etc/os-release && printf '%s\n' "${VERSION_CODENAME:?}"); }

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
is_offered() { [ -n "$(apt-cache show --no-all-versions "$1" 2>/dev/null)" ]; }

# Print the first of the names in `a|b` that is installed here, or else offered; "" when none is.
package_of() { # NAME[|NAME...][?]
  local name names=${1%\?}
  for name in ${names//|/ }; do ! is_installed "$name" || { printf %s "$name"; return; }; done
  for name in ${names//|/ }; do ! is_offered "$name" || { printf %s "$name"; return; }; done
}

# An engine and its client; whoever has Docker's own packages keeps them.
# shellcheck disable=SC2034  # read by the scripts that source this file
ENGINE_PACKAGES=('docker.io|docker-ce|moby-engine' 'docker-cli|docker-ce-cli|moby-cli?' iptables iproute2 ca-certificates)

# The client's plugins, as whoever made the client calls them: those of Debian and Ubuntu need their engine.
plugin_packages() {
  if is_installed docker-ce-cli; then
    printf '%s\n' docker-compose-plugin docker-buildx-plugin
  else
    printf '%s\n' 'docker-compose-v2|docker-compose-plugin|docker-compose' 'docker-buildx|docker-buildx-plugin'
  fi
}

# Install packages that are not there yet: `a|b` is the first that this system has, `a?` is left out where it has none.
# The machine's package lists are read again only when they must be. Nothing is removed for them.
install_packages() {
  local wish package missing=() lists=old
  for wish in "$@"; do
    package=$(package_of "$wish")
    if [ -z "$package" ] && [ $lists = old ] && is_apt_root; then
      lists=new
      make_cache
      flock "$CACHE/apt.lock" apt-get update -qq >/dev/null 2>&1 || true # what is still missing then is named below
      package=$(package_of "$wish")
    fi
    if [ -n "$package" ]; then
      is_installed "$package" || missing+=("$package")
    elif [ "$wish" = "${wish%\?}" ]; then
      missing+=("${wish%%|*}")
    fi
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  is_apt_root || die "missing: ${missing[*]}" "install them, or run this as root on Debian or Ubuntu"
  say "installing ${missing[*]}"
  make_cache
  # Two of our scripts may want packages at once; apt itself would give up at the lock.
  (
    flock 9
    export DEBIAN_FRONTEND=noninteractive
    if ! apt-get install -y -qq --no-remove --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}" >"$CACHE/apt.log" 2>&1; then
      apt-get update -qq >"$CACHE/apt.log" 2>&1 &&
        apt-get install -y -qq --no-remove --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}" >>"$CACHE/apt.log" 2>&1
    fi
  ) 9>"$CACHE/apt.lock" || {
    tail -n 20 "$CACHE/apt.log" >&2
    die "apt-get could not install ${missing[*]}" "the whole log: $CACHE/apt.log"
  }
}

# Print sources.list lines for a Debian suite, taken from where this machine gets its own packages.
debian_sources() { # SUITE [with-security]
  local suite=$1 security=${2:-} here keyring=/usr/share/keyrings/debian-archive-keyring.gpg option='' lines
  here=$(suite_here)
  [ ! -s $keyring ] || option="[signed-by=$keyring] "
  lines=$(
    # shellcheck disable=SC2016  # the names are apt's, not the shell's
    apt-get indextargets --format '$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)' 'Created-By: Packages' |
      while IFS='|' read -r origin uri release component; do
        [ "$origin/$component" = Debian/main ] || continue
        case $release in
          "$here") printf 'deb %s%s %s main\n' "$option" "$uri" "$suite" ;;
          "$here-updates" | "$here-security")
            # Another suite need not have these; its release alone is enough.
            if [ "$suite" = "$here" ]; then
              printf 'deb %s%s %s main\n' "$option" "$uri" "$release"
            elif [ "$security/$release" = "with-security/$here-security" ]; then
              printf 'deb %s%s %s main\n' "$option" "$uri" "$suite-security"
            fi ;;
        esac
      done | sort -u
  )
  [ -n "$lines" ] || die "apt knows no Debian archive for $here" "run apt-get update, and look at /etc/apt/sources.list"
  printf '%s\n' "$lines"
}

# Unpack packages of another Debian suite into a folder; nothing is installed, and apt's own state is not touched.
unpack_packages() { # SUITE DIR PACKAGE...
  local suite=$1 dir=$2 root=$CACHE/apt/$1
  shift 2
  local options=(
    -qq -o "Dir::Etc::sourcelist=$root/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$root/lists"
    -o "Dir::State::status=$root/status" -o "Dir::Cache=$root/cache" -o Acquire::Languages=none
    -o Acquire::Check-Valid-Until=false -o APT::Sandbox::User=root
  )
  mkdir -p "$root/lists/partial" "$root/cache/archives/partial" "$root/download" "$dir"
  : >"$root/status"
  debian_sources "$suite" >"$root/sources.list" || exit
  if ! apt-get "${options[@]}" update || ! (cd "$root/download" && apt-get "${options[@]}" download "$@"); then
    die "apt-get could not get $* of Debian's $suite" "is the archive that apt uses here reachable?"
  fi
  local package
  for package in "$@"; do dpkg-deb -x "$root/download/${package}"_*.deb "$dir"; done
  rm -rf "$root/download"
}

# Print one hash over the content and names of files, so that what is made from them is made once.
content_hash() { # FILE|DIR..., below the checkout
  find "$@" -type f ! -path '*/__pycache__/*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum |
    sed "s|  $ROOT/|  |" | sha256sum | cut -c1-16
}

# Wait until a line with one of the patterns is in a log that something is still writing. Reading it is enough to
# know: nothing is asked again and again.
wait_for_line() { # FILE SECONDS PATTERN...
  local file=$1 deadline=$((SECONDS + $2)) line log left pattern found=1
  shift 2
  exec {log}< <(exec tail -n +1 -F "$file" 2>/dev/null)
  local reader=$!
  while [ $found = 1 ] && left=$((deadline - SECONDS)) && [ $left -gt 0 ] && IFS= read -r -t "$left" -u "$log" line; do
    for pattern in "$@"; do
      case $line in *"$pattern"*) found=0 ;; esac
    done
  done
  kill "$reader" 2>/dev/null || true
  exec {log}<&-
  return $found
}

# Print the path of a Python that is new enough, and has the modules; Debian's own before any that a user has put in
# front of it.
recent_python() { # [MODULE...]
  local name modules=sys
  [ $# = 0 ] || modules=$(printf 'sys%s' "$(printf ', %s' "$@")")
  for name in /usr/bin/python3.11 python3.11 python3.12 python3.13 python3.14 python3; do
    if has "$name" && "$name" -I -c "import $modules; sys.exit(sys.version_info < (3, 11))" 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
  [ $# = 0 ] || ! has python3 || die "there is no Python 3.11 or newer with $*" "install python3-venv, or a newer Python"
  die "there is no Python 3.11 or newer" "install one: python3, or python3.12 where that is older"
}
