#!/usr/bin/env bash
# Common part of pretrain.sh and finetune.sh: run a command with a recipe under the deepspeed launcher.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"


command=$1
shift
case ${1:--} in -*)
    echo "$command.sh: error: the recipe is missing: expected one of $(cd "$root/configs/$command" && echo *.yaml | sed 's/\.yaml//g')" >&2
    exit 2 ;;
esac
launch=(--num_gpus "${GPUS:-8}")
words=("$@")
if [ -n "${HOSTFILE:-}" ]; then
    # Without the check and --force_multi, the launcher would use the GPUs of this machine if the file is missing or has
    # only one line.
    [ -f "$HOSTFILE" ] || { echo "$command.sh: error: HOSTFILE=$HOSTFILE: no such file, seen from $PWD" >&2; exit 2; }
    launch=(--hostfile "$HOSTFILE" --force_multi ${GPUS:+--num_gpus "$GPUS"})
    # A shell on each machine parses the arguments again and would expand the {000..999} of shards. The launcher quotes
    # only arguments with spaces.
    for place in "${!words[@]}"; do
        [[ ${words[place]} == *" "* ]] || printf -v "words[place]" %q "${words[place]}"
    done
fi

exec "$root/.venv/bin/deepspeed" "${launch[@]}" --module adamae "$command" --config "${words[@]}"
