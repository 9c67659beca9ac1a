# bash completion for peelfs(1)

# The names of the devices in a mount that fit the given state ("" for any).
_peelfs_names_in() {
    local status=$1/.peelfs/status.json state=$2
    [ -r "$status" ] || return
    # Names never hold quotes or line ends: peelfs escapes them.
    awk -v wanted="$state" '
        /"name": "/  { name = $0; sub(/.*"name": "/, "", name); sub(/",?$/, "", name) }
        /"state": /  { state = $0; sub(/.*"state": "?/, "", state); sub(/"?,?$/, "", state)
                       if (name != "" && (wanted == "" || state == wanted)) print name
                       name = "" }' "$status"
}

# The names of the devices in the sources on the command line; locked ones stay locked, quickly.
_peelfs_names_of() {
    [ $# -gt 0 ] || return
    timeout 3 peelfs ls --json --quiet --no-prompt "$@" 2>/dev/null </dev/null |
        awk '/"name": "/ { sub(/.*"name": "/, ""); sub(/",?$/, ""); print }'
}

_peelfs() {
    local cur prev words cword split
    if declare -F _init_completion >/dev/null; then
        _init_completion -s -n : || return
    else
        COMPREPLY=() cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
        words=("${COMP_WORDS[@]}") cword=$COMP_CWORD
    fi
    local verbs="mount ls cat export map hash umount unlock fsck try diff commit drop checkpoint revert help"
    local general="--help --version --verbose --quiet"
    local keys="--key-file --key --volume-key --no-prompt"
    local sources="$keys --header --as --allow-reference --depth --no-search --kdf-memory --kdf-iterations --kdf-seconds --run-files --identify-bytes"
    local overlay="--overlay --accept-source --accept-shared"

    # The verb and the operands behind it.
    local verb="" word i skip=no operands=()
    for ((i = 1; i < cword; i++)); do
        word=${words[i]}
        if [ $skip = yes ]; then skip=no; continue; fi
        case $word in
            --key-file | --key | --volume-key | --header | --as | --allow-reference | --depth | --kdf-memory | --kdf-iterations | --kdf-seconds | --run-files | --identify-bytes | -o | --options | \
                --output | --tree | --color | --offset | --length | --map-file | --sparse | --timeout | --overlay | --hexdump | --keep | --ok | --jobs | -j | --junit | --log | \
                --algorithm | -a | --check | -c | --piecewise | --digest) skip=yes ;;
            -*) ;;
            *)
                if [ -z "$verb" ] && [ ${#operands[@]} = 0 ] && [[ " $verbs " == *" $word "* ]]; then
                    verb=$word
                else
                    operands+=("$word")
                fi ;;
        esac
    done

    case $prev in
        --key-file | --allow-reference | --map-file | --junit | --check | -c)
            COMPREPLY=($(compgen -f -- "$cur")); compopt -o filenames 2>/dev/null; return ;;
        --as)
            case $cur in
                *=*) COMPREPLY=($(compgen -P "${cur%%=*}=" -W "raw none vhd qcow2 luks lvm gpt mbr ext" -- "${cur#*=}")) ;;
            esac
            return ;;
        --key | --volume-key | --header)
            case $cur in
                *=file:*) COMPREPLY=($(compgen -P "${cur%%=file:*}=file:" -f -- "${cur#*=file:}")) ;;
            esac
            return ;;
        --overlay | --keep | --log) COMPREPLY=($(compgen -d -- "$cur")); compopt -o filenames 2>/dev/null; return ;;
        --algorithm | -a | --digest)
            local first=""
            [[ $cur == *,* ]] && first=${cur%,*},
            COMPREPLY=($(compgen -P "$first" -W "sha256 md5 sha1 sha224 sha384 sha512 blake2b sha3-256 sha3-512 sm3 ripemd160" -- "${cur##*,}"))
            return ;;
        --tree) COMPREPLY=($(compgen -W "auto unicode ascii" -- "$cur")); return ;;
        --color) COMPREPLY=($(compgen -W "auto always never" -- "$cur")); return ;;
        --sparse) COMPREPLY=($(compgen -W "auto always never" -- "$cur")); return ;;
        --depth | --kdf-memory | --kdf-iterations | --kdf-seconds | --run-files | --identify-bytes | --offset | --length | --timeout | --hexdump | --jobs | -j | --piecewise) return ;;
        -o | --output | --options)
            local before=""
            [[ $cur == *,* ]] && before=${cur%,*},
            if [ "$verb" = ls ]; then
                [[ $cur == +* && -z $before ]] && before=+
                COMPREPLY=($(compgen -P "$before" -W "NAME TYPE SIZE START SECTORS OFFSET PARTN PARTTYPENAME PARTTYPE BOOT FSTYPE MEMBERS GROUP LABEL UUID
                    PARTLABEL PARTUUID PTTYPE PTUUID RO LOG-SEC FORMAT SOURCE HOLDER STATE REASON" -- "$(tr a-z A-Z <<<"${cur##*[,+]}")"))
                compopt -o nospace 2>/dev/null
                return
            fi
            COMPREPLY=($(compgen -P "$before" -W "overlay= overlay-temp accept-source accept-shared rw in-place ro allow_other threads= log-file= debug no-auto-unmount
                fsname= max_read= nodev nosuid noexec noatime key-file= key= volume-key= header= as= allow-reference=
                depth= no-search no-prompt kdf-memory= kdf-iterations= kdf-seconds= run-files= identify-bytes=" -- "${cur##*,}"))
            compopt -o nospace 2>/dev/null
            return ;;
    esac

    if [[ $cur == -* ]]; then
        local options=$general
        case $verb in
            "" | mount) options+=" $sources $overlay --overlay-temp --rw --foreground --options --timeout -f -o" ;;
            ls) options+=" $sources $overlay --json --bytes --long --output --noheadings --tree --color --timeout" ;;
            cat) options+=" $sources $overlay --offset --length --force --timeout" ;;
            export) options+=" $sources $overlay --force --sparse --map-file --resume --stop-on-error --digest --timeout" ;;
            map) options+=" $sources $overlay --json --timeout" ;;
            hash) options+=" $sources $overlay --algorithm --all --check --piecewise --tag --jobs --json --timeout" ;;
            diff) options+=" $sources $overlay --json --hexdump --timeout" ;;
            commit) options+=" --allow-reference --as $overlay --accept-part --drop-snapshots --grow" ;;
            drop) options+=" --overlay --accept-shared --accept-part --half-committed" ;;
            revert) options+=" --overlay --accept-shared --accept-part" ;;
            checkpoint) options+=" --overlay --accept-shared --list" ;;
            try) options+=" $sources --accept-shared --commit --drop --keep --ok" ;;
            fsck) options+=" $sources --jobs --repair --commit --drop --keep --rw --due --since-boot --skip-busy --background --log --junit --json --timeout" ;;
            umount) options+=" --lazy --timeout" ;;
            unlock) options+=" $keys" ;;
        esac
        COMPREPLY=($(compgen -W "$options" -- "$cur"))
        return
    fi

    case $verb in
        help) COMPREPLY=($(compgen -W "$verbs" -- "$cur")); return ;;
        umount)
            COMPREPLY=($(compgen -W "$(awk '$3 == "fuse.peelfs" { print $2 }' /proc/mounts)" -- "$cur"))
            return ;;
        unlock)
            if [ ${#operands[@]} = 0 ]; then
                COMPREPLY=($(compgen -W "$(awk '$3 == "fuse.peelfs" { print $2 }' /proc/mounts)" -- "$cur"))
            else
                COMPREPLY=($(compgen -W "$(_peelfs_names_in "${operands[0]}" locked)" -- "$cur"))
            fi
            return ;;
    esac
    COMPREPLY=($(compgen -f -- "$cur"))
    [ -z "$verb" ] && [ ${#operands[@]} = 0 ] && COMPREPLY+=($(compgen -W "$verbs" -- "$cur"))
    case $verb in
        cat | map | export | hash | diff | try)
            COMPREPLY+=($(compgen -W "$(_peelfs_names_of "${operands[@]}")" -- "$cur")) ;;
    esac
    compopt -o filenames 2>/dev/null
}
complete -F _peelfs peelfs
