"""What the programs of TwoFour share: small modules of plain functions, one subject each."""
