"""The course: lessons in two languages, with experiments that measure what they say. Draws nothing.

    lesson      a lesson and the folder it is read from        pages       Markdown, cut into pages with live fences
    quiz        questions and how an answer is judged           exercise    an exercise and the check of a learner's file
    code        source code by name, read without importing     catalogue   experiments, imported when they are asked for
    progress    what a learner has done                         doctor      what is wrong with the content

Adding a lesson is adding a folder: see `lessons/_template` and ``python -m lessons new``.
"""
