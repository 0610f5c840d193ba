# shellcheck shell=bash
# Sourced by demo.sh and tests/run.sh, which both have to work as the first thing typed on a bare Debian. It stands
# here because it is neither part of the program nor a test: it makes a machine ready to run either.

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

has_package() {
    case $1 in
        iproute2) command -v ip ;;
        iputils-ping) command -v ping ;;
        procps) command -v sysctl ;;
        graphviz) command -v dot ;;
        nftables) command -v nft ;;
        # A Python that is not the system's may well bring its own.
        python3-venv) python3 -c 'import ensurepip' ;;
        uidmap) command -v newuidmap ;;
        util-linux) command -v unshare && command -v flock ;;
        *) command -v "$1" ;;
    esac >/dev/null 2>&1
}

# Install those of the packages named that are missing, or say what to type and fail.
need_packages() {
    local package missing=() log
    for package; do
        has_package "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "${0##*/}: missing: ${missing[*]}. Type: sudo apt-get install ${missing[*]}" >&2
        return 1
    fi
    echo "${0##*/}: installing ${missing[*]} …" >&2
    log=$( (apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq --yes --no-install-recommends "${missing[@]}") 2>&1 </dev/null) && return 0
    printf "%s\n${0##*/}: can't install %s\n" "$log" "${missing[*]}" >&2
    return 1
}
