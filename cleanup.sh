#!/bin/sh
# Removes from this host everything that bears vpcctl's mark, and nothing else, whatever it is called. It goes by
# the kernel's state, and needs neither Python nor a state file. The marks are: a link's alias that begins with
# "vpcctl:" (on its lo, that of a namespace), a rule's comment that does, the chains VPCCTL-FORWARD, VPCCTL-INPUT,
# VPCCTL-POSTROUTING, VPCCTL-SOURCES, VPCCTL-PUBLISH, VPCCTL-PORTS, VPCCTL-PUBLISHED, VPCCTL-ELASTIC, VPCCTL-ELASTIC-TO,
# VPCCTL-REFUSED, VPCCTL-GUARD, and VPCCTL-GUARD-FROM, -AWAY, -IN and -OUT, and a resolv.conf in /etc/netns or a file of
# hosts, or of flow logs, in /run/vpcctl whose first line begins with "# vpcctl:". Addresses for which the host answers ARP are known by the rules for them.

set -u
LC_ALL=C

# The absolute paths in PATH, then the folders of system tools: an empty or relative path is the current folder,
# which may belong to anybody.
set -f
IFS=:
path=
for folder in ${PATH-}; do
    case $folder in /*) path=$path$folder: ;; esac
done
unset IFS
set +f
PATH=$path/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH

namespaces=/var/run/netns
state_dir=${VPCCTL_STATE_DIR:-/var/lib/vpcctl}
ip_program=
dry=
yes=
problem=
had_rules=
had_namespaces=
noted=

usage() {
    cat <<USAGE
Usage: $0 [--dry-run] [-y|--yes] [--state-dir DIR]

Emergency cleanup: removes every process, link, namespace, firewall rule and file that vpcctl made on this host,
even if its state file is lost, and puts back the sysctls it changed. Each command is printed as it runs.

  --dry-run        print the commands and change nothing
  -y, --yes        don't ask (it asks only on a terminal)
  --state-dir DIR  where state.json is, if not in VPCCTL_STATE_DIR or /var/lib/vpcctl
  -h, --help       this text

Exit codes: 0 nothing of vpcctl's is left, 1 something is (it says what), 2 bad usage.
USAGE
}

# Names that others gave (links, comments) must not control the reader's terminal: everything except printable ASCII,
# tabs and line breaks is escaped as \033.
visible() {
    awk '
        BEGIN { for (i = 1; i < 256; i++) escape[sprintf("%c", i)] = sprintf("\\%03o", i) }
        !/[^\t -~]/ { print; next }
        {
            shown = ""
            for (i = 1; i <= length($0); i++) {
                c = substr($0, i, 1)
                shown = shown (c ~ /[\t -~]/ ? c : escape[c])
            }
            print shown
        }'
}

say() { printf 'cleanup.sh: %s\n' "$1" | visible >&2; }

# A busybox shell may prefer its own ip to any in PATH, and that one knows neither JSON nor namespaces.
find_ip() {
    set -f
    IFS=:
    for folder in $PATH; do
        case $("$folder/ip" -V 2>/dev/null) in *iproute2*) ip_program=$folder/ip; break ;; esac
    done
    unset IFS
    set +f
}

ip() { "$ip_program" "$@"; }

# Something keeps us from knowing that nothing is left.
trouble() {
    say "$1"
    problem=yes
}

# The arguments as a person could paste them into a shell.
quoted() {
    line=
    for word; do
        case $word in
            '' | *[!A-Za-z0-9_./:=@%+,-]*) word=\'$(printf '%s' "$word" | sed "s/'/'\\\\''/g")\' ;;
        esac
        line="$line${line:+ }$word"
    done
    case $line in
        *[![:print:]]*) printf '%s\n' "$line" | visible ;;
        *) printf '%s\n' "$line" ;;
    esac
}

run() {
    quoted "$@"
    [ -z "$dry" ] || return 0
    told=$("$@" 2>&1)
    status=$?
    [ -z "$told" ] || printf '%s\n' "$told" | visible >&2
    return "$status"
}

# Names of the links that bear our mark, out of `ip -j link`; with an argument, their marks. An alias can contain
# anything, even a quote or a line that looks like ours, so the JSON is read string by string.
marked() {
    awk -v marks="${1-}" '
        function unescaped(string) {
            gsub(/\\\\/, "\001", string)
            gsub(/\\/, "", string)
            gsub(/\001/, "\\", string)
            return string
        }
        {
            count = split($0, parts, "\"")
            for (i = 1; i <= count; i++) {
                piece = piece parts[i]
                if (within && piece ~ /(^|[^\\])(\\\\)*\\$/) { piece = piece "\""; continue }
                if (within) string = piece
                else if (piece ~ /^:/) key = string
                else {
                    if (key == "ifname") name = string
                    if (key == "ifalias" && index(string, "vpcctl:") == 1) print unescaped(marks ? string : name)
                    key = ""
                }
                within = !within
                piece = ""
            }
        }'
}

links_here() { ip -j link show | marked | grep -vx lo; }
links_in() { ip -j -n "$1" link show 2>/dev/null | marked | grep -vx lo; }
is_ours() { [ -n "$(ip -j -n "$1" link show dev lo 2>/dev/null | marked)" ]; }

# The names that we gave to namespaces of others. The ports that lead there say it, in the routers, which the host's links
# name; where such a port is lost, our link inside does.
attached_names() {
    for router in $(ip -j link show | marked marks | sed -n 's|^vpcctl:\([a-z0-9-]*\)$|\1|p'); do
        ip -j -n "$router" link show 2>/dev/null | marked marks |
            sed -n "/~tap~[A-Za-z0-9_-]*$/d; s|^vpcctl:\\($router\\)/\\([a-z0-9-]*\\)/\\([a-z0-9-]*\\)~.*|\\1-\\2.\\3|p"
    done
    for path in "$namespaces"/*.*; do
        { [ -e "$path" ] && ! is_ours "${path##*/}"; } || continue
        ip -j -n "${path##*/}" link show 2>/dev/null | marked marks |
            sed -n 's|^vpcctl:\([a-z0-9-]*\)/\([a-z0-9-]*\)/\([a-z0-9-]*\)$|\1-\2.\3|p' | grep -xF -e "${path##*/}"
    done
}

inode() {
    # shellcheck disable=SC2012 # its number, of a file whose name does not matter
    ls -diL "$1" 2>/dev/null | awk '{ print $1 }'
}

# A namespace of somebody else's loses our rules and our name for it, and nothing else: its links go with their ports.
release() {
    for namespace; do
        [ -e "$namespaces/$namespace" ] || continue
        for tool in $(firewalls) $(firewalls ip6tables); do
            # Not by table: that would make one of iptables-legacy which is not in use.
            rules=$("$ip_program" netns exec "$namespace" "$tool-save" 2>/dev/null | whole_lines |
                awk '/^\*/ { here = ($0 == "*mangle") }
                    !here { next }
                    /^-A (INPUT|OUTPUT|PREROUTING|POSTROUTING) .*-j VPCCTL-(IN|OUT)$/ { print "-D" substr($0, 3) }
                    /^:VPCCTL-(IN|OUT)(-[A-Z0-9]+)? / { chains[substr($1, 2)] }
                    END { for (chain in chains) print "-F " chain; for (chain in chains) print "-X " chain }')
            [ -n "$rules" ] || continue
            printf "ip netns exec %s %s-restore -w --noflush <<'EOF'\n*mangle\n%s\nCOMMIT\nEOF\n" \
                "$namespace" "$tool" "$rules" | visible
            [ -n "$dry" ] || printf '*mangle\n%s\nCOMMIT\n' "$rules" |
                "$ip_program" netns exec "$namespace" "$tool-restore" -w --noflush 2>&1 | visible >&2
        done
        for table in 'ip vpcctl' 'ip6 vpcctl' 'inet vpcctl-flows'; do
            # shellcheck disable=SC2086 # two words
            if "$ip_program" netns exec "$namespace" nft -t list table $table >/dev/null 2>&1; then
                run ip netns exec "$namespace" nft delete table $table
            fi
        done
        # Else the next look would take it for one of ours.
        ! is_ours "$namespace" || run ip -n "$namespace" link set dev lo alias ''
        run ip netns delete "$namespace"
    done
}

pids_in() {
    for namespace; do
        ip netns pids "$namespace" 2>/dev/null
    done
}

signal_all() {
    signal=$1
    shift
    for namespace; do
        for pid in $(ip netns pids "$namespace" 2>/dev/null); do
            run kill "-$signal" "$pid" 2>/dev/null
        done
    done
}

wait_until_none() {
    turns=$1
    shift
    while [ "$turns" -gt 0 ] && [ -n "$(pids_in "$@")" ]; do
        sleep 0.1 2>/dev/null || sleep 1
        turns=$((turns - 1))
    done
}

stop_processes() {
    signal_all TERM "$@"
    [ -z "$dry" ] || return 0
    wait_until_none 50 "$@"
    signal_all KILL "$@"
    wait_until_none 20 "$@"
}

remove_links() {
    links_here | while IFS= read -r link; do
        # Gone already if it was the other end of a cable.
        ip link show dev "$link" >/dev/null 2>&1 && run ip link delete dev "$link"
    done
    # Before the namespaces: a process that still holds one open would keep what is in it.
    for path in "$namespaces"/* "$namespaces"/.[!.]*; do
        namespace=${path##*/}
        [ -e "$path" ] && links_in "$namespace" | while IFS= read -r link; do
            ip -n "$namespace" link show dev "$link" >/dev/null 2>&1 &&
                run ip -n "$namespace" link delete dev "$link"
        done
    done
}

remove_namespaces() {
    for namespace; do
        # A name is the only handle on what runs in there.
        [ -n "$dry" ] || [ -z "$(pids_in "$namespace")" ] || continue
        run ip netns delete "$namespace"
    done
}

# One iptables command for each firewall there is: `iptables` stands for one of the other two, or is alone.
# With ip6tables, the same of IPv6.
firewalls() {
    kinds=
    family=${1:-iptables}
    for tool in "$family" "$family-nft" "$family-legacy"; do
        version=$("$tool" --version 2>/dev/null) || continue
        case $version in *nf_tables*) kind=nft ;; *) kind=legacy ;; esac
        case $kinds in *$kind*) continue ;; esac
        kinds="$kinds $kind"
        echo "$tool"
    done
}

# All rules, without touching a table that isn't in use. Root of a user namespace may not list the tables in use.
saved_rules() {
    if rules=$("$1-save" 2>/dev/null); then
        printf '%s\n' "$rules"
        return
    fi
    for table in filter nat mangle raw security; do
        "$1-save" -t "$table" 2>/dev/null
    done
}

# The complete lines: a comment can span several, which may look like anything.
whole_lines() {
    awk '
        {
            rest = $0
            gsub(/\\./, "", rest)
            odd = gsub(/"/, "", rest) % 2
            continued = open
            if (odd) open = !open
            if (!continued && !odd) print
        }
    '
}

# The lines that remove our rules and chains from one table, out of iptables-save.
removals() {
    awk -v table="$1" '
        function judge(line,    i, c, token, previous, quoted, ours) {
            for (i = 1; i <= length(line) + 1; i++) {
                c = substr(line, i, 1)
                if (c == "\\" && quoted) token = token substr(line, ++i, 1)
                else if (c == "\"") quoted = !quoted
                else if (c != "" && (c != " " || quoted)) token = token c
                else {
                    if (previous == "-A" && token in chains) return 0
                    if (previous == "--comment" && index(token, "vpcctl:") == 1) ours = 1
                    if ((previous == "-j" || previous == "-g") && token in chains) ours = 1
                    previous = token
                    token = ""
                }
            }
            return ours
        }
        /^\*/ { here = ($0 == "*" table) }
        !here { next }
        /^:VPCCTL-(FORWARD|REFUSED|INPUT|GUARD|GUARD-IN|GUARD-OUT|GUARD-FROM|GUARD-AWAY|POSTROUTING|SOURCES|PUBLISH|PORTS|PUBLISHED|ELASTIC|ELASTIC-TO) / { chains[substr($1, 2)] }
        /^-A / && (/vpcctl:/ || /VPCCTL-/) && judge($0) { print "-D" substr($0, 3) }
        END {
            for (chain in chains) print "-F " chain
            for (chain in chains) print "-X " chain
        }'
}

restore() {
    printf '*%s\n%s\nCOMMIT\n' "$2" "$3" | "$1-restore" -w --noflush
}

# The host answers ARP for addresses of the outside that are marked as machines' elastic ones.
remove_elastic() {
    for tool in $(firewalls); do saved_rules "$tool"; done | whole_lines | sed -n \
        's|^-A VPCCTL-ELASTIC-TO -d \([0-9.]*\)/32 .*--comment "\{0,1\}vpcctl:[^ ]*~eip"\{0,1\} .*|\1|p' |
        while IFS= read -r address; do
            ip -4 neigh show proxy | awk -v address="$address" '$1 == address { print $3 }' |
                while IFS= read -r link; do run ip neigh del proxy "$address" dev "$link"; done
        done
}

remove_rules() {
    tool=$1
    saved=$(saved_rules "$tool")
    for table in filter nat mangle raw security; do
        case $saved in
            *"Table \`$table' is incompatible"*) trouble "$tool can't read table $table: look into it with nft" ;;
        esac
        lines=$(printf '%s\n' "$saved" | whole_lines | removals "$table")
        [ -n "$lines" ] || continue
        had_rules=yes
        printf "%s-restore -w --noflush <<'EOF'\n*%s\n%s\nCOMMIT\nEOF\n" "$tool" "$table" "$lines" | visible
        [ -z "$dry" ] || continue
        restore "$tool" "$table" "$lines" 2>/dev/null && continue
        # All or nothing: one line that does not work must not keep the others.
        printf '%s\n' "$lines" | while IFS= read -r line; do
            restore "$tool" "$table" "$line" 2>&1 | visible >&2
        done
    done
}

remove_files() {
    for folder in /etc/netns/* /etc/netns/.[!.]*; do
        file=$folder/resolv.conf
        { [ -f "$file" ] && [ ! -L "$file" ]; } || continue
        case $(head -n 1 "$file") in '# vpcctl:'*) ;; *) continue ;; esac
        contents=$(ls -A "$folder")
        run rm "$file"
        [ "$contents" = resolv.conf ] || continue
        run rmdir "$folder"
        # Others may have files in it, or have it mounted.
        [ -n "$dry" ] || ! rmdir /etc/netns 2>/dev/null || quoted rmdir /etc/netns
    done
    for file in /run/vpcctl/*/hosts /run/vpcctl/flow.logs/*; do
        folder=${file%/*}
        { [ -f "$file" ] && [ ! -L "$file" ]; } || continue
        case $(head -n 1 "$file") in '# vpcctl:'*) ;; *) continue ;; esac
        run rm "$file"
        [ -n "$dry" ] || ! rmdir "$folder" 2>/dev/null || quoted rmdir "$folder"
        [ -n "$dry" ] || ! rmdir /run/vpcctl 2>/dev/null || quoted rmdir /run/vpcctl
    done
}

# Whoever makes a log of the same name would read old records as its own.
remove_records() {
    records=$state_dir/flow-logs
    { [ -d "$records" ] && [ ! -L "$records" ]; } || return 0
    for file in "$records"/*.log "$records"/*.log.1 "$records"/.saved "$records"/.saved.new "$records"/.under-way; do
        { [ -f "$file" ] && [ ! -L "$file" ]; } || continue
        run rm "$file"
    done
    [ -n "$dry" ] || ! rmdir "$records" 2>/dev/null || quoted rmdir "$records"
}

# The uid of unknown users here (user_namespaces(7)), or nothing: in a plain user's namespace, the host's own / and
# /var belong to it.
unmapped() {
    unknown=$(cat /proc/sys/kernel/overflowuid)
    awk -v unknown="$unknown" '$1 <= unknown && unknown < $1 + $2 { known = 1 }
        END { if (!known) print unknown }' /proc/self/uid_map
}

# Refuse what others could change: it does not belong to root, or others may write to it. `above` is yes for
# the folders on the way: these may be sticky, or an unknown user's.
refuse_stranger() {
    place=$1
    above=$2
    set -f
    # shellcheck disable=SC2046 # its words are what is wanted
    set -- $(ls -ldn "$place" 2>/dev/null)
    set +f
    [ $# -gt 3 ] || return 0
    if [ "$3" != 0 ] && { [ -z "$above" ] || [ "$3" != "$(unmapped)" ]; }; then
        say "$state_dir is not root's alone: $place belongs to uid $3; name another folder with --state-dir"
        exit 1
    fi
    case $1 in
        l* | ?????-??-*) return 0 ;;
        d????????[tT]*) [ -z "$above" ] && [ "$place" != /var/lib/vpcctl ] || return 0 ;;
    esac
    say "$state_dir is not root's alone: $place is writable by others; run: chmod go-w $place"
    exit 1
}

# Each folder and link on the way to a path, as the kernel resolves it, and its end.
check_way() {
    way=$1
    case $way in /*) ;; *) way=$(pwd -P)/$way ;; esac
    here=
    links=0
    refuse_stranger / yes
    while [ -n "$way" ]; do
        part=${way%%/*}
        case $way in */*) way=${way#*/} ;; *) way= ;; esac
        case $part in
            '' | .) continue ;;
            ..) here=${here%/*} ;;
            *) here=$here/$part ;;
        esac
        refuse_stranger "${here:-/}" yes
        if [ -L "$here" ]; then
            target=$(readlink "$here")
            links=$((links + 1))
            [ "$links" -le 40 ] || return 0
            case $target in /*) here= ;; *) here=${here%/*} ;; esac
            way=$target/$way
        fi
    done
    refuse_stranger "${here:-/}" ''
}

# The record decides what is written to /proc/sys: only root may have written it.
check_state() {
    [ -d "$state_dir" ] || return 0
    check_way "$state_dir"
    if [ -L "$state_dir/state.json" ]; then
        say "$state_dir/state.json is a symbolic link, which vpcctl does not follow"
        exit 1
    fi
    [ ! -e "$state_dir/state.json" ] || refuse_stranger "$state_dir/state.json" ''
}

# The objects "found" of the state file, one a line, without those of an earlier boot of the host: what was found
# then is of no use now.
found_now() {
    [ -r "$state_dir/state.json" ] || return 0
    boot=$(cat /proc/sys/kernel/random/boot_id)
    tr '\n\t' '  ' <"$state_dir/state.json" | grep -o '"found" *: *{[^{}]*}' |
        awk -v boot="$boot" '!/"identity" *: *"/ || index($0, boot)'
}

# All of their numbers, `NAME NUMBER` a line.
found_numbers() {
    found_now | tr ',{}' '\n' | sed -n 's/^ *"\([^"]*\)" *: *"\{0,1\}\([0-9][0-9]*\)"\{0,1\} *$/\1 \2/p'
}

# The links that were renamed meanwhile, `number/OLD NEW` a line: a link keeps its number.
renamed() {
    [ -n "$ip_program" ] || return 0
    found_numbers | grep '^number/' | sort -u | while read -r old number; do
        new=$("$ip_program" -o link show | sed -n "s/^$number: \([^:@]*\).*/\1/p")
        [ -z "$new" ] || printf '%s %s\n' "$old" "$new"
    done
}

# The sysctls as they were before us, `KEY VALUE` a line, from the objects "found" of the state file (a workload
# has one too). Only those we may have changed: somebody who can write the file must not make root write others.
recorded() {
    { renamed; found_numbers | grep -v '^number/'; } |
        awk '/^number\// { names[substr($1, 8)] = $2; next }
            split($1, part, "/") == 5 && part[2] == "ipv6" && part[4] in names {
                $1 = part[1] "/" part[2] "/" part[3] "/" names[part[4]] "/" part[5]
            }
            { print }' |
        sed 's|^net/\(ipv[46]\)/conf/\([^/]*\)/|net.\1.conf.\2.|' |
        grep -E '^net\.(ipv4\.(ip_forward|conf\.[A-Za-z0-9_./@-]+\.(forwarding|accept_redirects))|ipv6\.conf\.[A-Za-z0-9_./@-]+\.(force_forwarding|forwarding|accept_ra)) '
}

# sysctl may write the dots of an interface's name as slashes.
path_of() {
    case $1 in
        net.ipv4.ip_forward) echo /proc/sys/net/ipv4/ip_forward ;;
        *)
            name=${1#net.ipv[46].conf.}
            family=${1%".conf.$name"}
            printf '/proc/sys/net/%s/conf/%s/%s\n' "${family#net.}" "$(printf '%s' "${name%.*}" | tr / .)" "${1##*.}"
            ;;
    esac
}

# Lines of KEY VALUE.
write_settings() {
    while read -r key value; do
        path=$(path_of "$key")
        if [ -w "$path" ] && [ "$(cat "$path")" != "$value" ]; then
            printf 'echo %s > %s\n' "$value" "$path"
            [ -n "$dry" ] || echo "$value" >"$path"
        fi
    done
}

# Those of workloads that have ended; others may contain those of a sandbox.
remove_cgroups() {
    for folder in /sys/fs/cgroup/vpcctl/* /sys/fs/cgroup/*/vpcctl/*; do
        { [ -d "$folder" ] && [ -z "$(cat "$folder/cgroup.procs")" ]; } || continue
        run rmdir "$folder"
        [ -n "$dry" ] || ! rmdir "${folder%/*}" 2>/dev/null || quoted rmdir "${folder%/*}"
    done
}

# What ip_forward was before us, by the comment of our jump, if there is no record.
noted_forwarding() {
    for tool in $(firewalls); do
        saved_rules "$tool" | whole_lines | sed -n \
            's/^-A FORWARD .*--comment "vpcctl:host ip_forward=\([01]\)" .*-j VPCCTL-FORWARD *$/\1/p'
    done | head -n 1
}

# Things of others that forward packets, found and worded as in vpcctl_lib/resources/forwarders.py.
forwarders() {
    {
        passing_links
        for tool in $(firewalls); do saved_rules "$tool" | whole_lines | passing_rules; done
        ! command -v nft >/dev/null || nft list ruleset 2>/dev/null | passing_tables "$(firewalls)"
    } | tr -c 'A-Za-z0-9 _./:,!=+@\n-' '?' | awk '!seen[$0]++'
}

# The names in `ip -o link`, without our own.
of_others() { awk -F': ' '{ sub(/@.*/, "", $2); print $2 }' | grep -vxF -e "$ours"; }

passing_links() {
    ours=$(links_here)
    ip -o link show type bridge | of_others | while IFS= read -r link; do
        [ -z "$(ip -o link show master "$link" | of_others)" ] || echo "bridge $link"
    done
    for kind in veth tun wireguard vxlan geneve gre ipip; do
        ip -o link show type "$kind" 2>/dev/null | grep -v ' master ' | of_others
    done | while IFS= read -r link; do
        ! ip -4 route show table all dev "$link" 2>/dev/null | leads_to_others || echo "link $link"
    done
}

# A link with a default route is the way out, and nothing is behind it.
leads_to_others() {
    awk '/^(default|0\.0\.0\.0\/[01]|128\.0\.0\.0\/1) / { out = 1 }
        /^[0-9]/ { behind = 1 }
        END { exit out || !behind }'
}

passing_rules() {
    awk '
        /^\*/ { table = substr($1, 2) }
        !/^-A / || /--comment "?vpcctl:/ || / VPCCTL-/ { next }
        {
            sub(/ +$/, "")
            target = ""
            for (i = 3; i < NF; i++) if ($i == "-j" || $i == "-g") target = $(i + 1)
            if (table == "nat" && $2 != "OUTPUT" && target ~ /^(MASQUERADE|SNAT|DNAT|NETMAP)$/)
                print "rule " substr($0, 4) " of table nat"
            if (table == "filter") { rules[++count] = substr($0, 4); chains[count] = $2; targets[count] = target }
        }
        END {
            reached["FORWARD"]
            do {
                grown = 0
                for (i = 1; i <= count; i++) if (chains[i] in reached && !(targets[i] in reached)) {
                    reached[targets[i]]
                    grown = 1
                }
            } while (grown)
            for (i = 1; i <= count; i++)
                if (targets[i] == "ACCEPT" && chains[i] in reached &&
                    rules[i] " " !~ / -p icmp | --(ct)?state (RELATED|ESTABLISHED)(,(RELATED|ESTABLISHED))* /)
                    print "rule " rules[i] " of table filter"
        }'
}

# Out of `nft list ruleset`; what iptables made there is among its rules.
passing_tables() {
    awk -v iptables="$1" '
        /^table / { family = $2; name = $3; next }
        / chain |^\tchain / { forwarding = 0 }
        / hook / { if (/ hook forward /) forwarding = 1; next }
        family != "ip" && family != "inet" { next }
        family == "ip" && iptables != "" && name ~ /^(filter|nat|mangle|raw|security)$/ { next }
        / (masquerade|snat|dnat)( |$)|^\t+(masquerade|snat|dnat)( |$)/ { print "nft table " family " " name; next }
        forwarding && !/established|icmp/ && /[ \t](accept|jump|goto|vmap)([ ,]|$)/ {
            print "nft table " family " " name
        }'
}

# Those that were not there when forwarding was turned on, by its KEY: what worked without it can continue without it.
newcomers() {
    beside=$(found_now | grep -F "\"$1\"" | sed -n 's/.*"beside" *: *"\([^"]*\)".*/\1/p' | head -n 1)
    forwarders | while IFS= read -r one; do
        case $beside in *"|$one|"*) ;; *) printf '%s\n' "$one" ;; esac
    done
}

put_back() {
    recorded | grep '^net\.ipv6\..*\.force_forwarding ' | write_settings
    old=$(recorded | sed -n 's/^net\.ipv6\.conf\.all\.forwarding //p' | head -n 1)
    [ -z "$old" ] || put_back_forwarding net.ipv6.conf.all.forwarding '^net\.ipv6\..*\.\(forwarding\|accept_ra\) '
    old=$(recorded | sed -n 's/^net\.ipv4\.ip_forward //p' | head -n 1)
    [ -n "$old" ] || [ "$noted" != 0 ] || old=0
    put_back_forwarding net.ipv4.ip_forward '^net\.ipv4\.conf\.'
}

# KEY and $old, and what the kernel changes along with it.
put_back_forwarding() {
    if [ "$old" = 0 ] && [ "$(cat "$(path_of "$1")")" = 1 ]; then
        others=$(newcomers "$1" | awk 'NR < 3 { printf "%s%s", (NR > 1 ? ", " : ""), $0 }
            END { if (NR > 2) printf " and %d more", NR - 2 }')
        if [ -n "$others" ]; then
            say "$1 stays 1, since others may need it: $others; if none does, run: sysctl -w $1=0"
            return
        fi
    fi
    # The key first: it resets the others.
    { [ -z "$old" ] || echo "$1 $old"; recorded | grep "$2" | grep -v "^$1 "; } | write_settings
}

warn_of_lost_state() {
    if [ -n "$had_rules" ] && [ -z "$noted" ] && [ "$(cat /proc/sys/net/ipv4/ip_forward)" = 1 ] &&
        ! tail -n 1 "$state_dir/state.json" 2>/dev/null | grep -q '} *$'; then
        say "net.ipv4.ip_forward is 1 and stays so: $state_dir/state.json does not say what it was before"
    fi
}

# Everything, in the order in which it has to go.
clean() {
    if [ -n "$ip_program" ]; then
        attached=$(attached_names | sort -u)
        theirs=$(for namespace in $attached; do inode "$namespaces/$namespace"; done)
        for path in "$namespaces"/* "$namespaces"/.[!.]*; do
            # Root in a namespace of others could mark it: it has another name, too, which is its owner's.
            if [ -e "$path" ] && is_ours "${path##*/}" && ! printf '%s\n' "$theirs" | grep -qxF -e "$(inode "$path")"; then
                set -- "$@" "${path##*/}"
                had_namespaces=yes
            fi
        done
        stop_processes "$@"
        remove_links
        # shellcheck disable=SC2086 # names without spaces
        release $attached
        remove_namespaces "$@"
    fi
    noted=${noted:-$(noted_forwarding)}
    [ -z "$ip_program" ] || remove_elastic
    for tool in $(firewalls) $(firewalls ip6tables); do
        remove_rules "$tool"
    done
    remove_files
    remove_records
    remove_cgroups
    put_back
}

what_is_left() {
    (dry=yes && clean)
}

# What was recorded is gone, so the record goes too; a copy stays, because it may be the only description left.
retire_state() {
    if [ -e "$state_dir/state.json" ]; then
        run mv -f "$state_dir/state.json" "$state_dir/state.json.cleaned"
    fi
    if [ -e "$state_dir/state.json.bak" ]; then
        run rm -f "$state_dir/state.json.bak"
    fi
}

confirmed() {
    list=$(dry=yes; clean; retire_state)
    [ -n "$list" ] || return 0
    printf '%s\nRun these commands? [y/N] ' "$list" >&2
    read -r answer
    case $answer in [yY]*) return 0 ;; esac
    return 1
}

while [ $# -gt 0 ]; do
    case $1 in
        --dry-run) dry=yes ;;
        -y | --yes) yes=yes ;;
        --state-dir=*) state_dir=${1#*=} ;;
        --state-dir)
            [ $# -gt 1 ] || { say "--state-dir needs a folder"; exit 2; }
            state_dir=$2
            shift
            ;;
        -h | --help) usage; exit 0 ;;
        *) say "what is '$1'? See $0 --help"; exit 2 ;;
    esac
    shift
done

if [ "$(id -u)" -ne 0 ]; then
    say "needs root; run: sudo $0"
    exit 1
fi
find_ip
if [ -z "$ip_program" ]; then
    if [ -z "$(firewalls)" ]; then
        trouble "iproute2's ip and iptables not found, so all stays; run: apt-get install iproute2 iptables"
    else
        trouble "iproute2's ip not found, so links and namespaces stay; run: apt-get install iproute2"
    fi
elif [ -n "$(ip -j link show dev lo | marked)" ]; then
    say "this is the inside of one of vpcctl's namespaces; run it on the host"
    exit 1
fi
check_state
if [ -z "$dry$yes" ] && [ -t 0 ] && ! confirmed; then
    say "nothing was changed"
    exit 1
fi
clean
warn_of_lost_state
if [ -n "$had_namespaces" ] && [ -z "$(firewalls)" ]; then
    trouble "iptables not found, so firewall rules stay; run: apt-get install iptables"
fi
if [ -z "$dry" ]; then
    left=$(what_is_left 2>/dev/null)
    if [ -n "$left" ]; then
        trouble "could not be removed; what is left to do:"
        printf '%s\n' "$left" >&2
    fi
fi
[ -z "$problem" ] || exit 1
retire_state
