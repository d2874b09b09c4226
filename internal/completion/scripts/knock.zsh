#compdef knock
# zsh completion for knock: knock completion zsh > a folder of $fpath, as _knock
_knock() {
    local -a replies described
    local reply
    replies=("${(@f)$("${words[1]}" __complete -- "${(@)words[2,CURRENT]}" 2> /dev/null)}")
    for reply in "${replies[@]}"; do
        case $reply in
            '') ;;
            :files) _files; return ;;
            *) described+=("${${reply%%$'\t'*}//:/\\:}:${reply#*$'\t'}") ;;
        esac
    done
    _describe knock described
}
if [[ ${funcstack[1]} == _knock ]]; then
    _knock "$@"
else
    compdef _knock knock
fi
