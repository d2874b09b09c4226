# bash completion for knock: knock completion bash > /etc/bash_completion.d/knock
_knock() {
    # COMP_WORDS is of no use: bash cuts "mysql@db1" into three. It replaces what follows the last
    # of COMP_WORDBREAKS, an "@" with it. Bash-completion takes "@" out of these.
    local line="${COMP_LINE:0:COMP_POINT}" words current cut reply
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    current="${words[${#words[@]}-1]}"
    cut="${current%"${current##*["$COMP_WORDBREAKS"]}"}"
    cut="${cut%@}"
    COMPREPLY=()
    while IFS=$'\t' read -r reply _; do
        if [[ $reply == ":files" ]]; then
            COMPREPLY=() # "default" below completes files
            return
        fi
        COMPREPLY+=("${reply#"$cut"}")
    done < <("${words[0]}" __complete -- "${words[@]:1}" 2> /dev/null)
}
complete -o bashdefault -o default -F _knock knock
