"""The terminal app: screens over lessons and runs. Importing it is free; torch never enters this process at start.

=============  =======================================================================================
``__main__``   the command line: refuses what is no terminal, prepares the environment, runs the app
``app``        ``MiniMindApp``: modes, global keys, languages, themes, the command palette
``strings``    every sentence of the interface in both languages (``strings/*.toml``)
``speech``     the mixin through which screens and widgets speak the current language
``inbox``      the bounded buffer between what computes and what draws; ``lab`` runs experiments on a thread
``screens``    one screen a file, built on ``screens.base.MiniMindScreen``
``widgets``    one widget a file, each with its own default CSS
=============  =======================================================================================
"""
