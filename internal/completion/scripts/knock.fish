# fish completion for knock: knock completion fish > ~/.config/fish/completions/knock.fish
function __knock_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for reply in ($words[1] __complete -- $words[2..-1] "$current" 2>/dev/null)
        if test "$reply" = ":files"
            __fish_complete_path "$current"
        else
            echo $reply
        end
    end
end
complete -c knock -f -a '(__knock_complete)'
