#!/bin/sh
# Is everything here that `make LEVEL` needs? Looks first; installs what is missing where it may; else says what to do.
#
#   scripts/setup.sh build|test|proof
#
# Without this, a machine with no cmake answers with a build script's panic of fifty lines. It installs only with
# apt-get, and only as root or with a sudo that asks nothing; otherwise it stops with one line that can be pasted.
set -eu

oldest_minor=88 # rust-version of Cargo.toml is 1.88
level=${1:-build}
PATH=$PATH:/usr/sbin:/sbin # where Debian keeps nft and ip, and a user's PATH does not look
case $level in build | test | proof) ;; *) echo "usage: $0 build|test|proof" >&2; exit 2 ;; esac

say() { echo "lanradio set-up: $*" >&2; }
stop() { say "$*"; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

# --- Rust: never installed from here; which toolchain to have is the user's choice ---------------------------------

check_rust() {
    has cargo || stop "no Rust found: install 1.$oldest_minor or newer with  curl https://sh.rustup.rs -sSf | sh  and open a new shell"
    version=$(cargo --version 2>/dev/null | cut -d' ' -f2) || version=
    major=${version%%.*}
    minor=${version#*.} minor=${minor%%.*}
    case $major$minor in '' | *[!0-9]*) stop "'cargo --version' does not work: run it by hand, or install Rust from https://rustup.rs" ;; esac
    if [ "$major" -eq 1 ] && [ "$minor" -lt $oldest_minor ]; then
        stop "cargo $version is too old, 1.$oldest_minor or newer is needed: run  rustup update stable  or install from https://rustup.rs (packages of distributions are often older)"
    fi
    [ "$level" = build ] && return
    cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 && return
    has rustup || stop "cargo fmt and cargo clippy are missing: install your distribution's rustfmt and clippy packages"
    say "adding rustfmt and clippy to the Rust toolchain"
    rustup component add rustfmt clippy >&2 || stop "could not add them: run  rustup component add rustfmt clippy"
}

# --- what is missing, in the words of each package manager ---------------------------------------------------------

apt= dnf= pacman= brew= what=
need() { # need WHAT APT DNF PACMAN BREW, a dash where that system has it anyway or cannot have it
    what="$what${what:+, }$1"
    [ "$2" = - ] || apt="$apt $2"
    [ "$3" = - ] || dnf="$dnf $3"
    [ "$4" = - ] || pacman="$pacman $4"
    [ "$5" = - ] || brew="$brew $5"
}

links() { # can LANGUAGE's compiler $2 make a program? (Debian's gcc comes without the C library's headers)
    scratch=$(mktemp)
    printf '#include <stdlib.h>\nint main(void) { return 0; }\n' | "$2" -x "$1" - -o "$scratch" >/dev/null 2>&1 && ok=0 || ok=1
    rm -f "$scratch"
    return $ok
}

has_gstreamer() { # the tools, Opus (base), RTP and WAV (good): the interop tests play against them
    has gst-launch-1.0 && has gst-inspect-1.0 || return 1
    for element in opusdec rtpopuspay rtpjitterbuffer udpsrc wavparse; do
        gst-inspect-1.0 --exists "$element" >/dev/null 2>&1 || return 1
    done
}

look() {
    what= apt= dnf= pacman= brew=
    if ! has cc || ! links c cc; then need "a C compiler" "gcc libc6-dev" "gcc glibc-devel" gcc -; fi
    has cmake || need cmake cmake cmake cmake cmake
    has make || need make make make make -
    if [ "$(uname -s)" = Linux ]; then # the sound device, through ALSA
        has pkg-config || need pkg-config pkg-config pkgconf-pkg-config pkgconf -
        pkg-config --exists alsa 2>/dev/null || need "ALSA's headers" libasound2-dev alsa-lib-devel alsa-lib -
    fi
    [ "$level" = build ] && return
    # The fuzz targets link libFuzzer, which is C++; the LAN tests make one network and time namespace for each host.
    if ! has c++ || ! links c++ c++; then need "a C++ compiler" g++ gcc-c++ gcc -; fi
    { has ffmpeg && has ffplay; } || need ffmpeg ffmpeg ffmpeg-free ffmpeg ffmpeg
    if [ "$(uname -s)" = Linux ]; then
        has nft || need nft nftables nftables nftables -
        has ip || need ip iproute2 iproute iproute2 -
        { has unshare && has nsenter && unshare --help 2>&1 | grep -q -- '--time'; } || need "unshare with --time" util-linux util-linux util-linux -
        has ps || need ps procps procps-ng procps-ng -
        has_gstreamer || need "GStreamer with its base and good plugins" \
            "gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good" \
            "gstreamer1 gstreamer1-plugins-base gstreamer1-plugins-good" "gstreamer gst-plugins-base gst-plugins-good" -
        has mpv || need mpv mpv mpv mpv - # plays our station in the interop tests, too
        # The sound tests play on a sound server of their own.
        { has pulseaudio && has pactl && has parec; } || need pulseaudio "pulseaudio pulseaudio-utils" \
            "pulseaudio pulseaudio-utils" pulseaudio -
        set -- /usr/lib/*/alsa-lib/libasound_module_pcm_pulse.so /usr/lib*/alsa-lib/libasound_module_pcm_pulse.so
        { [ -e "$1" ] || [ -e "${2:-}" ] || [ -e "${3:-}" ]; } || need "ALSA's pulse plugin" libasound2-plugins alsa-plugins-pulseaudio alsa-plugins -
    fi
    [ "$level" = test ] && return
    # The figures run trx beside us. Only Debian and Ubuntu have a package.
    if [ "$(uname -s)" = Linux ] && has apt-get; then
        { has trx-tx && has trx-rx; } || need trx trx - - -
    fi
}

install_with_apt() { # true if apt-get could be run and did its work
    has apt-get || return 1
    if [ "$(id -u)" = 0 ]; then root=
    elif has sudo && sudo -n true 2>/dev/null; then root=sudo
    else return 1; fi
    say "missing: $what; installing$apt"
    log=$(mktemp)
    # shellcheck disable=SC2086 # a list of words
    if { $root env DEBIAN_FRONTEND=noninteractive apt-get -q update && $root env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -y --no-install-recommends install $apt; } >"$log" 2>&1 </dev/null; then
        rm -f "$log"
        hash -r
        return 0
    fi
    tail -n 5 "$log" >&2
    rm -f "$log"
    return 1
}

how() { # the one command for this system
    if has apt-get; then echo "sudo apt-get install$apt"
    elif has dnf; then echo "sudo dnf install$dnf"
    elif has pacman; then echo "sudo pacman -S --needed$pacman"
    elif [ "$(uname -s)" = Darwin ]; then
        case $what in *compiler* | *make) echo "xcode-select --install${brew:+; brew install$brew}" ;; *) echo "brew install$brew" ;; esac
    else echo "your package manager (Debian calls them$apt)"; fi
}

check_rust
look
[ -z "$what" ] && exit 0
install_with_apt && look
[ -z "$what" ] || stop "missing: $what; install with:  $(how)"
