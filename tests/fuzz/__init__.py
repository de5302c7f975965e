"""Made-up and damaged input by the hundred: a case ends in a correct result or in one line that says what to mend."""
